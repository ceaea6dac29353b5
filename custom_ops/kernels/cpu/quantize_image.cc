// QuantizeImage: uint8 pixels to the normalised int8 network input.
#include "kernels/cpu/quantize_image.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {

PixelTables::PixelTables(const PixelScale& scale, int64_t colours) : values_(256 * colours) {
  for (int64_t colour = 0; colour < colours; ++colour) {
    for (int64_t pixel = 0; pixel < 256; ++pixel) {
      values_[256 * colour + pixel] = scale.quantize(static_cast<uint8_t>(pixel), colour);
    }
  }
}

void quantize_image(const Parallel& parallel, const uint8_t* image, const ImageShape& shape, const PixelTables& tables,
                    int8_t* y) {
  const Variant& variant = active_variant();
  const int64_t lines = shape.images * shape.colours * shape.height;
  for_row_ranges(parallel, lines, shape.width, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t plane = begin / shape.height;
      const int64_t stop = std::min(end, (plane + 1) * shape.height);
      const int64_t first = begin * shape.width;
      variant.look_up(image + first, (stop - begin) * shape.width, tables.colour(plane % shape.colours), y + first);
      begin = stop;
    }
  });
}

}  // namespace ivit::cpu
