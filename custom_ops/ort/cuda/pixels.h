// The three inputs that normalise and quantise pixels, as tables on the device.
#pragma once

#include "kernels/cuda/quantize_image.h"
#include "ort/operator.h"

namespace ivit::ort {

// `multiplier` is the index of the first of the three: multiplier, offset, shift.
inline cuda::PixelTables pixel_tables(const Call& constants, size_t multiplier) {
  const PixelScale scale{constants.data<int32_t>(multiplier), constants.data<int64_t>(multiplier + 1),
                         constants.data<int8_t>(multiplier + 2)};
  return cuda::PixelTables(scale, constants.dims['C']);
}

}  // namespace ivit::ort
