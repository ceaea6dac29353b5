// The parameters of a linear layer: packed once if all of them are constant in the model, and on every call otherwise.
#pragma once

#include "kernels/cpu/variant.h"
#include "ort/operator.h"

namespace ivit::ort {

class LinearParameters {
 public:
  LinearParameters(const Call& constants, const LinearInputs& inputs)
      : inputs_(inputs),
        constant_(constants.is_constant(inputs.weight) && constants.is_constant(inputs.bias) &&
                  constants.is_constant(inputs.scale)) {
    if (constant_) packed_ = pack(constants);
  }

  // The packed layer, in `storage` if it had to be packed for this call.
  const cpu::PackedLinear& packed(const Call& call, cpu::PackedLinear& storage) const {
    if (constant_) return packed_;
    storage = pack(call);
    return storage;
  }

 private:
  cpu::PackedLinear pack(const Call& call) const {
    return cpu::PackedLinear(cpu::active_variant().matmul.layout, call.data<int8_t>(inputs_.weight),
                             call.input_dim(inputs_.weight, 0), call.input_dim(inputs_.weight, 1),
                             call.data<int32_t>(inputs_.bias), call.dyadic(inputs_.scale));
  }

  LinearInputs inputs_;
  bool constant_;
  cpu::PackedLinear packed_;
};

}  // namespace ivit::ort
