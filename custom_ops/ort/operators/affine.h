// The affine map of a normalisation.
#pragma once

#include "kernels/cpu/int_layer_norm.h"
#include "ort/operator.h"

namespace ivit::ort {

inline cpu::Affine bind_affine(const Call& call, const AffineInputs& inputs) {
  return {call.data<int32_t>(inputs.multiplier), call.data<int64_t>(inputs.offset), call.data<int8_t>(inputs.shift)};
}

}  // namespace ivit::ort
