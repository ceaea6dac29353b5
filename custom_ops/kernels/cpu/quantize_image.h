// QuantizeImage: uint8 pixels to the normalised int8 network input.
#pragma once

#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct ImageShape {
  int64_t images;
  int64_t colours;
  int64_t height;
  int64_t width;
};

// (pixel * multiplier + offset) >> shift, one triple per colour.
struct PixelScale {
  const int32_t* multiplier;
  const int64_t* offset;
  const int8_t* shift;
};

void quantize_image(const Parallel& parallel, const uint8_t* image, const ImageShape& shape, const PixelScale& scale,
                    int8_t* y);

}  // namespace ivit::cpu
