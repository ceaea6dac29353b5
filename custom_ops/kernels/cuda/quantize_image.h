// QuantizeImage: uint8 pixels to the normalised int8 network input, by a table for each colour.
#pragma once

#include <cstdint>

#include "kernels/common/quantize_pixel.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// [images, colours, height, width]
struct ImageShape {
  int64_t images;
  int64_t colours;
  int64_t height;
  int64_t width;
};

// The results of all 256 pixel values on the device, a table for each colour.
class PixelTables {
 public:
  // `scale` is in host memory.
  PixelTables(const PixelScale& scale, int64_t colours);
  const int8_t* table() const { return table_.get(); }

 private:
  DeviceArray<int8_t> table_;
};

// image and y have the same shape. Fastest where 16 divides height * width and both are aligned to 16 bytes.
void quantize_image(const uint8_t* image, const ImageShape& shape, const PixelTables& tables, int8_t* y, Stream stream);

}  // namespace ivit::cuda
