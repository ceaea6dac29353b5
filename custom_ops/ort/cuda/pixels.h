// The parameters that normalise and quantise pixels, as tables on the device.
#pragma once

#include "kernels/cuda/quantize_image.h"
#include "ort/operator.h"

namespace ivit::ort {

inline cuda::PixelTables pixel_tables(const Call& constants, const AffineInputs& inputs) {
  const PixelScale scale{constants.data<int32_t>(inputs.multiplier), constants.data<int64_t>(inputs.offset),
                         constants.data<int8_t>(inputs.shift)};
  return cuda::PixelTables(scale, constants.input_dim(inputs.multiplier, 0));
}

}  // namespace ivit::ort
