// The inputs of a normalisation, an operator of its own or part of one.
#pragma once

#include "kernels/cpu/int_layer_norm.h"
#include "ort/operator.h"

namespace ivit::ort {

// The affine map of a normalisation; `multiplier` is the index of the first of its three inputs.
inline cpu::Affine bind_affine(const Call& call, size_t multiplier) {
  return {call.data<int32_t>(multiplier), call.data<int64_t>(multiplier + 1), call.data<int8_t>(multiplier + 2)};
}

// Appends norm_multiplier, norm_offset, norm_shift; `channels` is the pattern of their shape.
inline void append_norm_inputs(std::vector<TensorSpec>& inputs, const char* channels) {
  inputs.push_back({"norm_multiplier", kInt32, channels});
  inputs.push_back({"norm_offset", kInt64, channels, kOffsetRange});
  inputs.push_back({"norm_shift", kInt8, channels, kShiftRange});
}

}  // namespace ivit::ort
