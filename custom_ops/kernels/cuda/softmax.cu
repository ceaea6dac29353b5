#include <vector>

#include "kernels/common/integer.h"
#include "kernels/cuda/softmax.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpLanes;

// Four scores, a row's own order.
struct FourScores {
  static constexpr int kCount = 4;
  uint32_t word;
  __device__ FourScores(const int8_t* x) : word(*reinterpret_cast<const uint32_t*>(x)) {}
  __device__ int32_t operator[](int i) const { return static_cast<int8_t>(byte_of(word, i)); }
};

struct OneScore {
  static constexpr int kCount = 1;
  int32_t value;
  __device__ OneScore(const int8_t* x) : value(*x) {}
  __device__ int32_t operator[](int) const { return value; }
};

__device__ inline void store(int16_t* y, const int32_t (&values)[4]) {
  *reinterpret_cast<uint2*>(y) = {pack_int16(values[0], values[1]), pack_int16(values[2], values[3])};
}

__device__ inline void store(int16_t* y, const int32_t (&values)[1]) { *y = static_cast<int16_t>(values[0]); }

// What the probabilities of a row are computed with.
struct Fraction {
  uint32_t numerator;
  uint32_t rounding;
  int frac_bits;

  __device__ uint32_t factor(uint64_t sum) const {
    constexpr uint64_t limit = INT32_MAX;
    return numerator / static_cast<uint32_t>(sum < limit ? sum : limit);
  }
  // As e is not above the sum, 32 bits are enough.
  __device__ int32_t probability(uint32_t e, uint32_t factor) const {
    const uint32_t scaled = (e * factor + rounding) >> (31 - frac_bits);
    const uint32_t limit = (1u << frac_bits) - 1;
    return static_cast<int32_t>(scaled < limit ? scaled : limit);
  }
};

// A warp for each row, which it reads three times. Shared memory: the table.
template <class Scores>
__global__ void __launch_bounds__(kThreads) softmax_by_warps(const int8_t* x, int64_t rows, int64_t count,
                                                             const int32_t* table, Fraction fraction, int16_t* y) {
  constexpr int kUnit = Scores::kCount;
  int32_t* const exponential = shared_memory<int32_t>();
  exponential[threadIdx.x] = table[threadIdx.x];
  __syncthreads();
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row >= rows) return;
  const int8_t* const source = x + row * count;
  const int64_t first = kUnit * lane_index();
  constexpr int kStep = kUnit * kWarpLanes;

  int32_t row_max = INT8_MIN;
  for (int64_t i = first; i < count; i += kStep) {
    const Scores scores(source + i);
#pragma unroll
    for (int j = 0; j < kUnit; ++j) row_max = Greater{}(row_max, scores[j]);
  }
  row_max = reduce_lanes(row_max, Greater{});

  uint64_t sum = 0;
  for (int64_t i = first; i < count; i += kStep) {
    const Scores scores(source + i);
#pragma unroll
    for (int j = 0; j < kUnit; ++j) sum += static_cast<uint32_t>(exponential[row_max - scores[j]]);
  }
  const uint32_t factor = fraction.factor(reduce_lanes(sum, Add{}));

  for (int64_t i = first; i < count; i += kStep) {
    const Scores scores(source + i);
    int32_t results[kUnit];
#pragma unroll
    for (int j = 0; j < kUnit; ++j) {
      results[j] = fraction.probability(static_cast<uint32_t>(exponential[row_max - scores[j]]), factor);
    }
    store(y + row * count + i, results);
  }
}

}  // namespace

DeviceSoftmax::DeviceSoftmax(const Softmax& softmax)
    : host_(softmax),
      exponentials_(std::vector<int32_t>(softmax.exponentials, softmax.exponentials + kScoreDistances)) {}

void softmax_rows(const int8_t* x, int64_t rows, int64_t count, const DeviceSoftmax& softmax, int16_t* y,
                  Stream stream) {
  static_assert(kThreads == 256, "a thread for each entry of the table");
  const bool units = count % 4 == 0 && is_aligned(x, 4) && is_aligned(y, 8);
  launch(units ? softmax_by_warps<FourScores> : softmax_by_warps<OneScore>,
         {dim3(static_cast<unsigned>(divide_up(rows, kWarps))), kThreads, 256 * sizeof(int32_t), stream}, x, rows,
         count, softmax.exponentials(),
         Fraction{softmax.host().numerator, softmax.host().rounding, softmax.host().frac_bits}, y);
}

}  // namespace ivit::cuda
