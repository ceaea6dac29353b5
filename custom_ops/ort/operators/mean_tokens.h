// The tokens of IntTokenMean.
#pragma once

#include <string>

#include "kernels/cpu/int_token_mean.h"
#include "ort/operator.h"
#include "ort/status.h"

namespace ivit::ort {

// The number of tokens T. Throws InvalidArgument unless sums of as many fit.
inline int64_t mean_tokens(const Call& call) {
  const int64_t tokens = call.dims['T'];
  if (tokens < 1 || tokens > cpu::kMaxMeanTokens) {
    throw InvalidArgument(std::string(call.spec.name) + ": tokens of input x: expected 1.." +
                          std::to_string(cpu::kMaxMeanTokens) + ", found " + std::to_string(tokens));
  }
  return tokens;
}

}  // namespace ivit::ort
