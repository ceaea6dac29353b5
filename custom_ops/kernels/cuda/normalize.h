// Layer normalisation of rows that a source reads: the kernels behind IntLayerNorm and IntPatchMerge.
//
// A source has row(index), and a row has load4(channel), four int16 values from a multiple of 4 on as two words, and
// load(channel), one value.
//
// The sum of (x - mean)^2 is taken as sum(x^2) - 2 * mean * sum(x) + C * mean^2, so that one pass over the values and
// one reduction give both moments. All of these are exact in 64 bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/integer.h"
#include "kernels/cuda/int_layer_norm.h"
#include "kernels/cuda/newton_sqrt.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {

constexpr int kNormalizeWarps = 4;
// Channels that the lanes of a warp take at a time, four each.
constexpr int kChunk = 4 * kWarpLanes;
constexpr int kMostChunks = 16;

// The rows of a matrix.
class MatrixSource {
 public:
  MatrixSource(const int16_t* x, int64_t channels) : x_(x), channels_(channels) {}

  class Row {
   public:
    __device__ explicit Row(const int16_t* x) : x_(x) {}
    __device__ uint2 load4(int channel) const { return *reinterpret_cast<const uint2*>(x_ + channel); }
    __device__ int32_t load(int64_t channel) const { return x_[channel]; }

   private:
    const int16_t* x_;
  };
  __device__ Row row(int64_t index) const { return Row(x_ + index * channels_); }

 private:
  const int16_t* x_;
  int64_t channels_;
};

// What makes a value of a row its normalised value.
struct Moments {
  int32_t mean;
  int32_t factor;  // 2^31 / root, at most 2^25

  // |x - mean| is at most the exact square root of the sum of squares, and the integer root is at least 64 and at
  // least that root rounded down, so the result fits 32 bits.
  __device__ static int32_t normalize(int32_t x, int32_t factor, int64_t minus_mean) {
    return static_cast<int32_t>(multiply_add(x, factor, minus_mean) >> 1);
  }
  constexpr int64_t minus_mean() const { return -int64_t{mean} * factor; }
};

// The moments of `channels` values with this mean, sum and sum of squares.
constexpr Moments moments_of(int32_t mean, int64_t sum, int64_t squares, int64_t channels) {
  const int64_t centered = squares - 2 * mean * sum + channels * mean * mean;
  return {mean, static_cast<int32_t>((uint64_t{1} << 31) / newton_root(static_cast<uint64_t>(centered)))};
}

// (z * multiplier + offset) >> shift, saturated at int32 or a narrower type. Shifts of 32 and more, the usual ones,
// need the upper word only, to be shifted by the lower five bits of the shift.
template <bool kHighShift>
__device__ inline int32_t affine_map(int32_t z, int32_t multiplier, int64_t offset, int32_t shift) {
  const int64_t value = multiply_add(z, multiplier, offset);
  if (kHighShift) return static_cast<int32_t>(value >> 32) >> (shift & 31);
  return saturate<int32_t>(value >> shift);
}

// The parameters of four channels.
struct Affine4 {
  int4 multiplier;
  int64_t offset[4];
  int32_t shift[4];

  __device__ Affine4(const Affine& affine, int channel)
      : multiplier(*reinterpret_cast<const int4*>(affine.multiplier + channel)) {
    const uint32_t shifts = *reinterpret_cast<const uint32_t*>(affine.shift + channel);
    const uint4* const words = reinterpret_cast<const uint4*>(affine.offset + channel);
    const uint4 first = words[0], second = words[1];
    offset[0] = static_cast<int64_t>(uint64_t{first.y} << 32 | first.x);
    offset[1] = static_cast<int64_t>(uint64_t{first.w} << 32 | first.z);
    offset[2] = static_cast<int64_t>(uint64_t{second.y} << 32 | second.x);
    offset[3] = static_cast<int64_t>(uint64_t{second.w} << 32 | second.z);
#pragma unroll
    for (int i = 0; i < 4; ++i) shift[i] = static_cast<int32_t>(byte_of(shifts, i));
  }

  __device__ bool high() const { return shift[0] >= 32 && shift[1] >= 32 && shift[2] >= 32 && shift[3] >= 32; }
};

__device__ inline void store4(int8_t* y, const int32_t (&values)[4]) {
  *reinterpret_cast<uint32_t*>(y) = pack_int8(values[0], values[1], values[2], values[3]);
}

__device__ inline void store4(int16_t* y, const int32_t (&values)[4]) {
  *reinterpret_cast<uint2*>(y) = {pack_int16(values[0], values[1]), pack_int16(values[2], values[3])};
}

// Zeros after the values of a row, up to the next one.
template <class Out>
__device__ inline void pad_row(Out* row, int64_t channels, int64_t stride, int first, int step) {
  for (int64_t c = channels + first; c < stride; c += step) row[c] = 0;
}

// Four normalised values of a row through the affine map.
template <bool kHighShift, class Out>
__device__ inline void write4(uint2 x, int32_t factor, int64_t minus_mean, const Affine4& affine, Out* y) {
  const int32_t values[4] = {low_half(x.x), high_half(x.x), low_half(x.y), high_half(x.y)};
  const int32_t multiplier[4] = {affine.multiplier.x, affine.multiplier.y, affine.multiplier.z, affine.multiplier.w};
  int32_t results[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t z = Moments::normalize(values[i], factor, minus_mean);
    results[i] = affine_map<kHighShift>(z, multiplier[i], affine.offset[i], affine.shift[i]);
  }
  store4(y, results);
}

// A warp for each kRows rows, which stay in registers; `channels` is a multiple of 4 and at most kChunks * kChunk.
// Rows of y are `stride` values apart, zeros between them.
template <int kChunks, int kRows, class Source, class Out>
__global__ void __launch_bounds__(kNormalizeWarps* kWarpLanes)
    normalize_in_registers(Source source, int64_t rows, int channels, Affine affine, Out* y, int64_t stride) {
  const int64_t first = (int64_t{blockIdx.x} * kNormalizeWarps + warp_index()) * kRows;
  if (first >= rows) return;
  const int count = rows - first < kRows ? static_cast<int>(rows - first) : kRows;
  const int lane = lane_index();
  uint2 x[kRows][kChunks];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    // Past the end, the last row once more.
    const auto row = source.row(first + (r < count ? r : count - 1));
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      const int channel = kChunk * j + 4 * lane;
      x[r][j] = channel < channels ? row.load4(channel) : uint2{0, 0};
    }
  }
  int32_t sums[kRows];
  int64_t squares[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    sums[r] = 0;
    squares[r] = 0;
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      const int32_t values[4] = {low_half(x[r][j].x), high_half(x[r][j].x), low_half(x[r][j].y), high_half(x[r][j].y)};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums[r] += values[i];
        squares[r] = multiply_add(values[i], values[i], squares[r]);
      }
    }
  }
  const int32_t sum = reduce_together(sums);
  const Moments own = moments_of(mean_of(sum, channels), sum, reduce_together(squares), channels);
  int32_t factor[kRows];
  int64_t minus_mean[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int owner = r * (kWarpLanes / kRows);
    const Moments moments{__shfl_sync(0xffffffffu, own.mean, owner), __shfl_sync(0xffffffffu, own.factor, owner)};
    factor[r] = moments.factor;
    minus_mean[r] = moments.minus_mean();
  }
  for (int r = 0; r < count; ++r) {
    pad_row(y + (first + r) * stride, channels, stride, lane, kWarpLanes);
  }
  Out* const corner = y + first * stride + 4 * lane;
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    if (kChunk * j + 4 * lane >= channels) break;
    const Affine4 parameters(affine, kChunk * j + 4 * lane);
    const bool high = parameters.high();
    Out* target = corner + kChunk * j;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r >= count) break;
      if (high) {
        write4<true>(x[r][j], factor[r], minus_mean[r], parameters, target);
      } else {
        write4<false>(x[r][j], factor[r], minus_mean[r], parameters, target);
      }
      target += stride;
    }
  }
}

// A block for each row of any width. Shared memory: two int64 for each warp.
template <class Source, class Out>
__global__ void normalize_by_blocks(Source source, int64_t channels, Affine affine, Out* y, int64_t stride) {
  int64_t* const shared = shared_memory<int64_t>();
  const int64_t index = blockIdx.x;
  const auto row = source.row(index);
  int64_t sum = 0;
  int64_t squares = 0;
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    const int64_t value = row.load(c);
    sum += value;
    squares += value * value;
  }
  sum = reduce_block(sum, Add{}, shared);
  squares = reduce_block(squares, Add{}, shared + blockDim.x / kWarpLanes);
  const int32_t mean = static_cast<int32_t>(round_half_even_divide(sum, channels));
  const Moments moments = moments_of(mean, sum, squares, channels);
  const int64_t minus_mean = moments.minus_mean();
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    const int32_t z = Moments::normalize(row.load(c), moments.factor, minus_mean);
    const int32_t value = affine_map<false>(z, affine.multiplier[c], affine.offset[c], affine.shift[c]);
    y[index * stride + c] = saturate<Out>(value);
  }
  pad_row(y + index * stride, channels, stride, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
}

// Where four values and their parameters can be read and written at a time.
template <class Out>
bool fits_vectors(const Affine& affine, const Out* y, int64_t stride) {
  return stride % 4 == 0 && is_aligned(y, 4 * sizeof(Out)) && is_aligned(affine.multiplier, 16) &&
         is_aligned(affine.offset, 16) && is_aligned(affine.shift, 4);
}

// Normalises rows that fit registers; kRows as above.
template <int kChunks, int kRows, class Source, class Out>
void launch_in_registers(const Source& source, int64_t rows, int64_t channels, const Affine& affine, Out* y,
                         int64_t stride, Stream stream) {
  const int64_t blocks = divide_up(rows, kNormalizeWarps * kRows);
  launch(normalize_in_registers<kChunks, kRows, Source, Out>,
         {dim3(static_cast<unsigned>(blocks)), kNormalizeWarps * kWarpLanes, 0, stream}, source, rows,
         static_cast<int>(channels), affine, y, stride);
}

template <class Source, class Out>
void launch_by_blocks(const Source& source, int64_t rows, int64_t channels, const Affine& affine, Out* y,
                      int64_t stride, Stream stream) {
  const int threads = channels <= 256 ? 32 : channels <= 2048 ? 128 : 512;
  const size_t shared_bytes = static_cast<size_t>(threads) / kWarpLanes * 2 * sizeof(int64_t);
  launch(normalize_by_blocks<Source, Out>, {dim3(static_cast<unsigned>(rows)), threads, shared_bytes, stream}, source,
         channels, affine, y, stride);
}

}  // namespace ivit::cuda
