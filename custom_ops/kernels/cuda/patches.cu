#include "kernels/common/integer.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/look_up.h"
#include "kernels/cuda/patches.h"

namespace ivit::cuda {
namespace {

// Bytes of a row that a thread writes.
constexpr int kGroup = 16;
// Tables of so many colours stand in shared memory.
constexpr int64_t kSharedTables = 16;

// Bytes as they are.
struct AsTheyAre {
  static constexpr bool kTable = false;
  __device__ AsTheyAre of_colour(int64_t) const { return {}; }
  __device__ uint32_t operator()(uint32_t word) const { return word; }
};

// Bytes looked up in a table for each colour.
struct LookedUp {
  static constexpr bool kTable = true;
  const uint8_t* table;
  __device__ LookedUp of_colour(int64_t colour) const { return {table + 256 * colour}; }
  __device__ uint32_t operator()(uint32_t word) const { return look_up4(word, table); }
};

struct PatchGrid {
  ImageShape shape;
  int64_t size;

  constexpr int64_t across() const { return shape.width / size; }
  constexpr int64_t patches() const { return shape.height / size * across(); }
  constexpr int64_t rows() const { return shape.images * patches(); }
  // Bytes of a patch.
  constexpr int64_t length() const { return shape.colours * size * size; }
};

// A place in a patch: it goes along a row of the result, and knows where its byte is in the image.
class PatchPlace {
 public:
  __device__ PatchPlace(const PatchGrid& grid, int64_t row, int64_t byte) : grid_(grid) {
    // Divisions of unsigned numbers that fit 32 bits, as these usually do, are short.
    const uint64_t size = static_cast<uint64_t>(grid.size);
    const uint64_t image = static_cast<uint64_t>(row) / static_cast<uint64_t>(grid.patches());
    const uint64_t patch = static_cast<uint64_t>(row) % static_cast<uint64_t>(grid.patches());
    const uint64_t line = static_cast<uint64_t>(byte) / size;
    column_ = static_cast<int64_t>(static_cast<uint64_t>(byte) % size);
    colour_ = static_cast<int64_t>(line / size);
    line_ = static_cast<int64_t>(line % size);
    const int64_t top = static_cast<int64_t>(patch / static_cast<uint64_t>(grid.across())) * grid.size;
    const int64_t left = static_cast<int64_t>(patch % static_cast<uint64_t>(grid.across())) * grid.size;
    corner_ = (static_cast<int64_t>(image) * grid.shape.colours * grid.shape.height + top) * grid.shape.width + left;
  }

  __device__ int64_t colour() const { return colour_; }
  __device__ int64_t offset() const {
    return corner_ + (colour_ * grid_.shape.height + line_) * grid_.shape.width + column_;
  }
  // `bytes` divides the size of a patch.
  __device__ void advance(int bytes) {
    column_ += bytes;
    if (column_ < grid_.size) return;
    column_ = 0;
    if (++line_ < grid_.size) return;
    line_ = 0;
    ++colour_;
  }

 private:
  const PatchGrid& grid_;
  int64_t corner_;
  int64_t colour_;
  int64_t line_;
  int64_t column_;
};

// kUnit consecutive bytes of an image, and their results, in the lowest bytes of words.
template <int kUnit, class Quantize>
__device__ inline void load_unit(const uint8_t* source, const Quantize& quantize, uint32_t (&words)[(kUnit + 3) / 4]) {
  if constexpr (kUnit == 16) {
    const uint4 value = *reinterpret_cast<const uint4*>(source);
    words[0] = quantize(value.x);
    words[1] = quantize(value.y);
    words[2] = quantize(value.z);
    words[3] = quantize(value.w);
  } else if constexpr (kUnit == 8) {
    const uint2 value = *reinterpret_cast<const uint2*>(source);
    words[0] = quantize(value.x);
    words[1] = quantize(value.y);
  } else if constexpr (kUnit == 4) {
    words[0] = quantize(*reinterpret_cast<const uint32_t*>(source));
  } else if constexpr (kUnit == 2) {
    words[0] = quantize(*reinterpret_cast<const uint16_t*>(source)) & 0xffff;
  } else {
    words[0] = quantize(*source) & 0xff;
  }
}

__device__ inline AsTheyAre bring_table(const AsTheyAre& quantize, int64_t) { return quantize; }

// The tables where look-ups are quick: in shared memory if there is room. Every thread of the block takes part.
__device__ inline LookedUp bring_table(const LookedUp& quantize, int64_t colours) {
  if (colours > kSharedTables) return quantize;
  uint32_t* const shared = shared_memory<uint32_t>();
  for (int i = static_cast<int>(threadIdx.x); i < 64 * colours; i += static_cast<int>(blockDim.x)) {
    shared[i] = reinterpret_cast<const uint32_t*>(quantize.table)[i];
  }
  __syncthreads();
  return {reinterpret_cast<const uint8_t*>(shared)};
}

// A thread for each kGroup bytes of the rows, whose stride is a multiple of kGroup. Parts of kUnit bytes, which divides
// the size of a patch, are consecutive in the image. Shared memory: the table.
template <int kUnit, class Quantize>
__global__ void __launch_bounds__(kElementThreads)
    gather_groups(const uint8_t* images, PatchGrid grid, Quantize quantize, uint8_t* rows, int64_t row_stride) {
  const Quantize brought = bring_table(quantize, grid.shape.colours);
  const int64_t group = first_element();
  const int64_t groups = row_stride / kGroup;
  const int64_t row = static_cast<int64_t>(static_cast<uint64_t>(group) / static_cast<uint64_t>(groups));
  if (row >= grid.rows()) return;
  const int64_t first = (group - row * groups) * kGroup;
  PatchPlace place(grid, row, first);
  uint32_t words[kGroup / 4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < kGroup; i += kUnit) {
    if (first + i >= grid.length()) break;
    uint32_t unit[(kUnit + 3) / 4];
    load_unit<kUnit>(images + place.offset(), brought.of_colour(place.colour()), unit);
#pragma unroll
    for (int w = 0; w < (kUnit + 3) / 4; ++w) words[i / 4 + w] |= unit[w] << (8 * (i % 4));
    place.advance(kUnit);
  }
  *reinterpret_cast<uint4*>(rows + row * row_stride + first) = {words[0], words[1], words[2], words[3]};
}

// A thread for each byte of the rows, for strides that are no multiple of kGroup.
template <class Quantize>
__global__ void __launch_bounds__(kElementThreads)
    gather_bytes(const uint8_t* images, PatchGrid grid, Quantize quantize, uint8_t* rows, int64_t row_stride) {
  const Quantize brought = bring_table(quantize, grid.shape.colours);
  const int64_t row = first_element() / row_stride;
  if (row >= grid.rows()) return;
  const int64_t byte = first_element() - row * row_stride;
  uint32_t result[1] = {0};
  if (byte < grid.length()) {
    const PatchPlace place(grid, row, byte);
    load_unit<1>(images + place.offset(), brought.of_colour(place.colour()), result);
  }
  rows[row * row_stride + byte] = static_cast<uint8_t>(result[0]);
}

template <class Quantize>
void gather(const uint8_t* images, const ImageShape& shape, int64_t patch_size, const Quantize& quantize, uint8_t* rows,
            int64_t row_stride, Stream stream) {
  const PatchGrid grid{shape, patch_size};
  const bool shared = Quantize::kTable && shape.colours <= kSharedTables;
  const size_t shared_bytes = shared ? static_cast<size_t>(256 * shape.colours) : 0;
  const bool groups = row_stride % kGroup == 0 && is_aligned(rows, kGroup);
  const int64_t threads = grid.rows() * (groups ? row_stride / kGroup : row_stride);
  const Launch where{dim3(static_cast<unsigned>(divide_up(threads, kElementThreads))), kElementThreads, shared_bytes,
                     stream};
  const auto fits = [&](int unit) { return patch_size % unit == 0 && is_aligned(images, static_cast<size_t>(unit)); };
  const auto kernel = !groups    ? gather_bytes<Quantize>
                      : fits(16) ? gather_groups<16, Quantize>
                      : fits(8)  ? gather_groups<8, Quantize>
                      : fits(4)  ? gather_groups<4, Quantize>
                      : fits(2)  ? gather_groups<2, Quantize>
                                 : gather_groups<1, Quantize>;
  launch(kernel, where, images, grid, quantize, rows, row_stride);
}

}  // namespace

void gather_patches(const int8_t* images, const ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t row_stride,
                    Stream stream) {
  gather(reinterpret_cast<const uint8_t*>(images), shape, patch_size, AsTheyAre{}, reinterpret_cast<uint8_t*>(rows),
         row_stride, stream);
}

void gather_patches(const uint8_t* images, const ImageShape& shape, const PixelTables& tables, int64_t patch_size,
                    int8_t* rows, int64_t row_stride, Stream stream) {
  gather(images, shape, patch_size, LookedUp{reinterpret_cast<const uint8_t*>(tables.table())},
         reinterpret_cast<uint8_t*>(rows), row_stride, stream);
}

}  // namespace ivit::cuda
