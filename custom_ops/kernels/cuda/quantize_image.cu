#include <vector>

#include "kernels/common/integer.h"
#include "kernels/cuda/look_up.h"
#include "kernels/cuda/quantize_image.h"

namespace ivit::cuda {
namespace {

constexpr int kThreads = 256;
// Pixels of a block.
constexpr int kBlockPixels = kThreads * 16 * 2;

// `blocks` blocks for each plane, which is one colour of one image. Shared memory: the table of the colour.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads) quantize_planes(const uint8_t* image, int64_t colours, int64_t plane_size,
                                                            unsigned blocks, const uint8_t* tables, uint8_t* y) {
  const int64_t plane = blockIdx.x / blocks;
  const int64_t begin = int64_t{blockIdx.x % blocks} * kBlockPixels;
  const int64_t end = begin + kBlockPixels < plane_size ? begin + kBlockPixels : plane_size;
  uint8_t* const table = shared_memory<uint8_t>();
  table[threadIdx.x] = tables[256 * (plane % colours) + threadIdx.x];
  __syncthreads();
  const uint8_t* const source = image + plane * plane_size;
  uint8_t* const target = y + plane * plane_size;
  if constexpr (kVectors) {
    for (int64_t i = begin + 16 * threadIdx.x; i < end; i += 16 * kThreads) {
      look_up_to(*reinterpret_cast<const uint4*>(source + i), table, target + i);
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) target[i] = table[source[i]];
  }
}

std::vector<int8_t> pixel_tables(const PixelScale& scale, int64_t colours) {
  std::vector<int8_t> tables;
  for (int64_t colour = 0; colour < colours; ++colour) {
    for (int pixel = 0; pixel < 256; ++pixel) tables.push_back(scale.quantize(static_cast<uint8_t>(pixel), colour));
  }
  return tables;
}

}  // namespace

PixelTables::PixelTables(const PixelScale& scale, int64_t colours) : table_(pixel_tables(scale, colours)) {}

void quantize_image(const uint8_t* image, const ImageShape& shape, const PixelTables& tables, int8_t* y,
                    Stream stream) {
  static_assert(kThreads == 256, "a thread for each entry of a table");
  const int64_t plane_size = shape.height * shape.width;
  const int64_t blocks = divide_up(plane_size, kBlockPixels);
  const bool vectors = plane_size % 16 == 0 && is_aligned(image, 16) && is_aligned(y, 16);
  launch(vectors ? quantize_planes<true> : quantize_planes<false>,
         {dim3(static_cast<unsigned>(shape.images * shape.colours * blocks)), kThreads, 256, stream}, image,
         shape.colours, plane_size, static_cast<unsigned>(blocks), reinterpret_cast<const uint8_t*>(tables.table()),
         reinterpret_cast<uint8_t*>(y));
}

}  // namespace ivit::cuda
