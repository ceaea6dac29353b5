// Squares of tokens as rows: the first half of IntPatchMerge.
#include <type_traits>

#include "kernels/cuda/normalize.h"
#include "kernels/cuda/patches.h"

namespace ivit::cuda {
namespace {

// The squares of 2 x 2 tokens as rows of four parts. Part p of a square is the token p % 2 below and p / 2 to the
// right of its first one.
class SquareSource {
 public:
  SquareSource(const int16_t* x, int64_t height, int64_t width, int64_t channels)
      : x_(x), height_(height), width_(width), channels_(channels) {}

  class Row {
   public:
    __device__ Row(const SquareSource& source, int64_t index) : source_(source) {
      const uint64_t across = static_cast<uint64_t>(divide_up(source.width_, 2));
      const uint64_t squares = across * static_cast<uint64_t>(divide_up(source.height_, 2));
      const uint64_t image = static_cast<uint64_t>(index) / squares;
      const uint64_t square = static_cast<uint64_t>(index) % squares;
      const int64_t line = static_cast<int64_t>(square / across) * 2;
      const int64_t column = static_cast<int64_t>(square % across) * 2;
      first_ = source.x_ +
               ((static_cast<int64_t>(image) * source.height_ + line) * source.width_ + column) * source.channels_;
      below_ = line + 1 < source.height_;
      beside_ = column + 1 < source.width_;
    }

    __device__ uint2 load4(int channel) const {
      const int width = static_cast<int>(source_.channels_);
      const int part = (channel >= width) + (channel >= 2 * width) + (channel >= 3 * width);
      if (!exists(part)) return {0, 0};
      return *reinterpret_cast<const uint2*>(token(part) + (channel - part * width));
    }
    __device__ int32_t load(int64_t channel) const {
      const int64_t width = source_.channels_;
      const int part = (channel >= width) + (channel >= 2 * width) + (channel >= 3 * width);
      return exists(part) ? token(part)[channel - part * width] : 0;
    }

   private:
    __device__ bool exists(int part) const { return (part % 2 == 0 || below_) && (part / 2 == 0 || beside_); }
    __device__ const int16_t* token(int part) const {
      return first_ + (part % 2 * source_.width_ + part / 2) * source_.channels_;
    }

    const SquareSource& source_;
    const int16_t* first_;
    bool below_;
    bool beside_;
  };
  __device__ Row row(int64_t index) const { return Row(*this, index); }

 private:
  const int16_t* x_;
  int64_t height_;
  int64_t width_;
  int64_t channels_;
};

}  // namespace

void merge_rows(const int16_t* x, int64_t images, int64_t height, int64_t width, int64_t channels, const Affine& affine,
                int8_t* rows, int64_t row_stride, Stream stream) {
  const SquareSource source(x, height, width, channels);
  const int64_t count = images * divide_up(height, 2) * divide_up(width, 2);
  const int64_t merged = 4 * channels;
  const bool vectors = channels % 4 == 0 && is_aligned(x, 8) && fits_vectors(affine, rows, row_stride);
  const int64_t chunks = vectors ? divide_up(merged, kChunk) : kMostChunks + 1;
  const auto run = [&](auto known) {
    launch_in_registers<decltype(known)::value, 1>(source, count, merged, affine, rows, row_stride, stream);
  };
  if (chunks <= 1) return run(std::integral_constant<int, 1>{});
  if (chunks <= 2) return run(std::integral_constant<int, 2>{});
  if (chunks <= 3) return run(std::integral_constant<int, 3>{});
  if (chunks <= 4) return run(std::integral_constant<int, 4>{});
  if (chunks <= 6) return run(std::integral_constant<int, 6>{});
  if (chunks <= 8) return run(std::integral_constant<int, 8>{});
  if (chunks <= 12) return run(std::integral_constant<int, 12>{});
  if (chunks <= 16) return run(std::integral_constant<int, 16>{});
  launch_by_blocks(source, count, merged, affine, rows, row_stride, stream);
}

}  // namespace ivit::cuda
