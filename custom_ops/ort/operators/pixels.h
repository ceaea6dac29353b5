// The parameters that normalise and quantise pixels, as tables: made once if all of them are constant in the model, and
// on every call otherwise.
#pragma once

#include "kernels/cpu/quantize_image.h"
#include "ort/operator.h"

namespace ivit::ort {

class PixelParameters {
 public:
  PixelParameters(const Call& constants, const AffineInputs& inputs)
      : inputs_(inputs),
        constant_(constants.is_constant(inputs.multiplier) && constants.is_constant(inputs.offset) &&
                  constants.is_constant(inputs.shift)) {
    if (constant_) tables_ = make(constants);
  }

  // The tables, in `storage` if they had to be made for this call.
  const cpu::PixelTables& tables(const Call& call, cpu::PixelTables& storage) const {
    if (constant_) return tables_;
    storage = make(call);
    return storage;
  }

 private:
  cpu::PixelTables make(const Call& call) const {
    const PixelScale scale{call.data<int32_t>(inputs_.multiplier), call.data<int64_t>(inputs_.offset),
                           call.data<int8_t>(inputs_.shift)};
    return cpu::PixelTables(scale, call.input_dim(inputs_.multiplier, 0));
  }

  AffineInputs inputs_;
  bool constant_;
  cpu::PixelTables tables_;
};

}  // namespace ivit::ort
