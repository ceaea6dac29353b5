// The first input of an attention: queries, keys and values side by side.
#pragma once

#include <string>
#include <vector>

#include "ort/operator.h"
#include "ort/status.h"

namespace ivit::ort {

// Throws InvalidArgument unless C is a multiple of the number of heads.
inline void check_heads(const Call& call, int64_t heads) {
  if (call.dims['C'] % heads == 0) return;
  throw InvalidArgument(std::string(call.spec.name) + ": attribute heads: expected a divisor of C = " +
                        std::to_string(call.dims['C']) + ", found " + std::to_string(heads));
}

// Binds C from W, the width of the packed input, 3 * C.
inline void derive_channels(const OperatorSpec& spec, const std::vector<int64_t>&, Dims& dims) {
  if (dims['W'] == Dims::kUnknown) return;
  const int64_t channels = dims['W'] / 3;
  if (dims['W'] % 3 != 0 || (dims['C'] != Dims::kUnknown && dims['C'] != channels)) {
    const TensorSpec& qkv = spec.inputs[0];
    throw InvalidArgument(std::string(spec.name) + ": shape of input qkv: expected [N, " + qkv.shape[1] + ", 3 * C]" +
                          (dims['C'] == Dims::kUnknown ? "" : " with C = " + std::to_string(dims['C'])) + ", found " +
                          format_shape(dims.shape(qkv.shape)));
  }
  dims['C'] = channels;
}

}  // namespace ivit::ort
