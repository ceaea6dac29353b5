// The three inputs that normalise and quantise pixels (multiplier, offset, shift, in this order), as tables: made once
// if all of them are constant in the model, and on every call otherwise.
#pragma once

#include "kernels/cpu/quantize_image.h"
#include "ort/operator.h"

namespace ivit::ort {

class PixelInputs {
 public:
  // `multiplier` is the index of the first of the three.
  PixelInputs(const Call& constants, size_t multiplier) : multiplier_(multiplier), constant_(true) {
    for (size_t input = multiplier; input < multiplier + 3; ++input) {
      constant_ = constant_ && constants.is_constant(input);
    }
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
    const PixelScale scale{call.data<int32_t>(multiplier_), call.data<int64_t>(multiplier_ + 1),
                           call.data<int8_t>(multiplier_ + 2)};
    return cpu::PixelTables(scale, call.dims['C']);
  }

  size_t multiplier_;
  bool constant_;
  cpu::PixelTables tables_;
};

}  // namespace ivit::ort
