// The inputs of a normalisation that is part of an operator.
#pragma once

#include "ort/operator.h"

namespace ivit::ort {

// Appends norm_multiplier, norm_offset, norm_shift; `channels` is the pattern of their shape.
inline void append_norm_inputs(std::vector<TensorSpec>& inputs, const char* channels) {
  inputs.push_back({"norm_multiplier", kInt32, channels});
  inputs.push_back({"norm_offset", kInt64, channels, kOffsetRange});
  inputs.push_back({"norm_shift", kInt8, channels, kShiftRange});
}

}  // namespace ivit::ort
