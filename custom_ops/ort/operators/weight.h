// A weight input that is packed once if it is constant in the model, and on every call otherwise.
#pragma once

#include "kernels/cpu/int_linear.h"
#include "ort/operator.h"

namespace ivit::ort {

class Weight {
 public:
  // `input` is the index of the weight; `inner` and `columns` are the letters of its shape.
  Weight(const Call& constants, size_t input, char inner, char columns)
      : input_(input), inner_(inner), columns_(columns) {
    if (constants.is_constant(input)) packed_ = pack(constants);
  }

  // The packed weight, in `storage` if it had to be packed for this call.
  const cpu::PackedWeight& packed(const Call& call, cpu::PackedWeight& storage) const {
    if (call.is_constant(input_)) return packed_;
    storage = pack(call);
    return storage;
  }

 private:
  cpu::PackedWeight pack(const Call& call) const {
    return cpu::PackedWeight(call.data<int8_t>(input_), call.dims[inner_], call.dims[columns_]);
  }

  size_t input_;
  char inner_;
  char columns_;
  cpu::PackedWeight packed_;
};

}  // namespace ivit::ort
