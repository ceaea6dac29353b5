// QuantizeImage: uint8 pixels to the normalised int8 network input.
#include "kernels/cpu/quantize_image.h"

#include "kernels/common/dyadic.h"

namespace ivit::cpu {

void quantize_image(const Parallel& parallel, const uint8_t* image, const ImageShape& shape, const PixelScale& scale,
                    int8_t* y) {
  const int64_t lines = shape.images * shape.colours * shape.height;
  for_row_ranges(parallel, lines, shape.width, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t colour = line / shape.height % shape.colours;
      const int64_t multiplier = scale.multiplier[colour];
      const int64_t offset = scale.offset[colour];
      const int32_t shift = scale.shift[colour];
      for (int64_t i = line * shape.width; i < (line + 1) * shape.width; ++i) {
        y[i] = saturate<int8_t>((image[i] * multiplier + offset) >> shift);
      }
    }
  });
}

}  // namespace ivit::cpu
