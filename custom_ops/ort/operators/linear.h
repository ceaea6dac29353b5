// The four inputs of a linear layer (weight, bias, multiplier, shift, in this order): packed once if all of them are
// constant in the model, and on every call otherwise.
#pragma once

#include "kernels/cpu/variant.h"
#include "ort/operator.h"

namespace ivit::ort {

class LinearInputs {
 public:
  // `weight` is the index of the weight; `inner` and `columns` are the letters of its shape.
  LinearInputs(const Call& constants, size_t weight, char inner, char columns)
      : weight_(weight), inner_(inner), columns_(columns), constant_(true) {
    for (size_t input = weight; input < weight + 4; ++input) constant_ = constant_ && constants.is_constant(input);
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
    return cpu::PackedLinear(cpu::active_variant().matmul.layout, call.data<int8_t>(weight_), call.dims[inner_],
                             call.dims[columns_], call.data<int32_t>(weight_ + 1), call.dyadic(weight_ + 2));
  }

  size_t weight_;
  char inner_;
  char columns_;
  bool constant_;
  cpu::PackedLinear packed_;
};

}  // namespace ivit::ort
