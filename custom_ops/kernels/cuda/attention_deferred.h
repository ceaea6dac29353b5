// The softmax of IntDeferredAttention and IntDeferredWindowAttention: scores of 16 bits, exponentials times values
// first, and their sum divided afterwards. See kernels/common/deferred.h, which this equals.
//
// A score is stored plus 2^15, without sign, so that distances from the maximum are differences of words. The entry of
// an exponential rises with the distance, so one limit of the entry stands for that of the distance too. An exponential
// comes from the table shifted left, and its dither likewise, so that it is the upper byte of their sum, or the upper
// two: deferred_entry() and dither_of() have the details.
#pragma once

#include <cstdint>

#include "kernels/common/deferred.h"
#include "kernels/cuda/attention_score.h"
#include "kernels/cuda/device_deferred.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda::attention {

// Exponentials of more levels have two bytes.
constexpr bool is_split(int level_bits) { return level_bits > 8; }

// Exponential and dither, both times the number of levels, are the truncated exponential times 2^15. Shifted by so many
// bits it is a word's upper byte, or a word's upper two without the sign.
constexpr int dither_shift(bool split) { return split ? 1 : 9; }

// The dither of a token in a word.
template <bool kSplit>
constexpr uint32_t dither_of(uint32_t token) {
  constexpr uint32_t mask = uint32_t{0x7fff} << dither_shift(kSplit);
  return token * (static_cast<uint32_t>(kDither) << dither_shift(kSplit)) & mask;
}

// An entry of the table: with the largest dither it is still below the number of levels.
constexpr uint32_t deferred_entry(int32_t exponential, int level_bits) {
  const uint32_t scaled = static_cast<uint32_t>(exponential) << level_bits;
  const uint32_t largest = ((uint32_t{1} << level_bits) - 1) << 15;
  return (scaled < largest ? scaled : largest) << dither_shift(is_split(level_bits));
}

constexpr int32_t clamp_int16(int32_t x) { return x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x; }

template <bool kSplit, class Item>
class Exponentials;

// What every block is told of the softmax.
struct Deferred {
  static constexpr int kScoreBytes = 2;
  template <bool kSplit, class Item>
  using Rows = Exponentials<kSplit, Item>;

  const uint32_t* exponentials;  // [256], of deferred_entry()
  int score_shift;
  uint32_t distance_multiplier;
  uint32_t last_entry;  // that of the largest distance
  uint32_t least_sum;
  uint64_t numerator;  // of the factor of a row
  int divided_shift;   // how far products with the factor are shifted to the right
  bool split;          // whether exponentials have two bytes

  __device__ __forceinline__ uint32_t entry(int number) const { return __ldg(exponentials + number); }
};

inline Deferred make_deferred(const DeviceDeferred& device) {
  const DeferredSoftmax& softmax = device.host();
  return {device.exponentials(),
          softmax.score_shift,
          static_cast<uint32_t>(softmax.distance_multiplier),
          static_cast<uint32_t>(softmax.entry(INT16_MAX)),
          static_cast<uint32_t>(softmax.levels() / 32),
          (uint64_t{1} << (26 + softmax.level_bits)) - 1,
          softmax.level_bits + 11,
          is_split(softmax.level_bits)};
}

// The rows of a lane on their way from scores to contexts.
template <bool kSplit, class Item>
class Exponentials {
 public:
  // `table` is that of the block, `scores` where the lane's scores of the first step go.
  __device__ __forceinline__ Exponentials(const Problem& problem, const Deferred& softmax, const Item& item,
                                          const uint32_t* table, uint4* scores)
      : problem_(problem), softmax_(softmax), item_(item), table_(table), scores_(scores) {}

  // Takes the products of one step.
  __device__ __forceinline__ void take(int step, const int32_t (&sums)[4][4]) {
    int32_t scores[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      int32_t products[4];
      products_of(sums, r, products);
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[r][i] = products[i] >> softmax_.score_shift;
      if constexpr (Item::kBiased) {
        int32_t biases[4];
        item_.biases(step, r / 2, r % 2, biases);
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[r][i] = clamp_int16(scores[r][i]) + biases[i];
      }
      set_masked(item_, step, r, INT16_MIN, scores[r]);
    }
    set_missing<int32_t>(problem_, step, INT16_MIN, scores);
    raise_maxima(scores, row_maxima_);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t (&four)[4] = scores[2 * half + i / 2];
        words[i] = pack_int16(four[i % 2 * 2], four[i % 2 * 2 + 1]) ^ 0x80008000u;
      }
      scores_[(2 * step + half) * kWarpLanes] = {words[0], words[1], words[2], words[3]};
    }
  }

  // After the last products, before the first exponentials.
  __device__ __forceinline__ void end_scores() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      maxima_[row] = static_cast<uint32_t>(clamp_int16(row_maximum(row_maxima_[row])) + 32768) * 0x00010001u;
    }
  }

  // The exponentials of one step as fragments of A: `upper` has their upper bytes, or all of them for at most 256
  // levels, `lower` the lower bytes of more.
  __device__ __forceinline__ void fragments(int step, uint32_t (&upper)[4], uint32_t (&lower)[4]) {
    uint32_t exponentials[4][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t dithers[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        dithers[i] = dither_of<kSplit>(static_cast<uint32_t>(kStepKeys * step + element_key(lane_index(), half, i)));
      }
      const uint4 scores = scores_[(2 * step + half) * kWarpLanes];
      const uint32_t words[2][2] = {{scores.x, scores.y}, {scores.z, scores.w}};
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const int r = 2 * half + row;
        look_up_four(maxima_[row] - words[row][0], maxima_[row] - words[row][1], dithers, exponentials[r]);
        set_masked(item_, step, r, 0u, exponentials[r]);
      }
    }
    set_missing(problem_, step, 0u, exponentials);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      pack_upper_bytes<kSplit>(exponentials[r], upper[r], lower[r]);
      constexpr uint32_t kOnes = 0x01010101u;
      if constexpr (kSplit) {
        sums_[r % 2] = __dp4a(lower[r], kOnes, sums_[r % 2] + (__dp4a(upper[r], kOnes, 0u) << 8));
      } else {
        sums_[r % 2] = __dp4a(upper[r], kOnes, sums_[r % 2]);
      }
    }
  }

  // After the last exponentials.
  __device__ __forceinline__ void end_fragments() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      uint32_t sum = sums_[row];
#pragma unroll
      for (int lanes = 1; lanes < 4; lanes *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
      factors_[row] = static_cast<int32_t>(softmax_.numerator / (sum < softmax_.least_sum ? softmax_.least_sum : sum));
    }
  }

  // Four sums of a row's values become contexts. These are at most 2^22 in absolute value, as a sum of values is at
  // most 128 times that of the exponentials.
  __device__ __forceinline__ void divide(int row, int32_t (&sums)[4]) const {
    const int32_t factor = row == 0 ? factors_[0] : factors_[1];
    const int64_t half = int64_t{1} << (softmax_.divided_shift - 1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[i] = static_cast<int32_t>(multiply_add(sums[i], factor, half) >> softmax_.divided_shift);
    }
  }

 private:
  // The exponentials of four scores with their dithers, by two words of distances.
  __device__ __forceinline__ void look_up_four(uint32_t first, uint32_t second, const uint32_t (&dithers)[4],
                                               uint32_t (&exponentials)[4]) const {
    const uint32_t distances[4] = {first & 0xffff, first >> 16, second & 0xffff, second >> 16};
    const uint32_t copy = static_cast<uint32_t>(lane_index() % kCopies);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t entry = (distances[i] * softmax_.distance_multiplier + (1u << 14)) >> 15;
      const uint32_t limited = entry < softmax_.last_entry ? entry : softmax_.last_entry;
      exponentials[i] = table_[limited * kCopies + copy] + dithers[i];
    }
  }

  const Problem& problem_;
  const Deferred& softmax_;
  const Item& item_;
  const uint32_t* const table_;
  uint4* const scores_;
  int32_t row_maxima_[2] = {INT32_MIN, INT32_MIN};
  uint32_t maxima_[2];  // plus 2^15, in both halves of a word
  uint32_t sums_[2] = {0, 0};
  int32_t factors_[2];
};

}  // namespace ivit::cuda::attention
