// QuantizeImage: uint8 pixels to the normalised int8 network input.
#pragma once

#include <cstdint>

#include "kernels/common/quantize_pixel.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct ImageShape {
  int64_t images;
  int64_t colours;
  int64_t height;
  int64_t width;
};

// The results of all 256 pixel values, a table for each colour.
class PixelTables {
 public:
  PixelTables() = default;
  PixelTables(const PixelScale& scale, int64_t colours);

  const int8_t* colour(int64_t index) const { return values_.get() + 256 * index; }

 private:
  AlignedArray<int8_t> values_;
};

void quantize_image(const Parallel& parallel, const uint8_t* image, const ImageShape& shape, const PixelTables& tables,
                    int8_t* y);

}  // namespace ivit::cpu
