// The softmax of IntAttention and IntWindowAttention: scores of 8 bits, probabilities before the product with the
// values.
//
// A score is stored plus 128, as a byte without sign, so that distances from the maximum are differences of words.
//
// A lane works on two rows. The probability of an exponential E is (E * F + rounding) >> (31 - frac_bits), with
// F = numerator // S, where S, the sum of the row, is at least E. The product and the rounding together are below 2^31:
// with rounding, by the choice of the numerator; without, the numerator is 2^31, and so is E * F only if no other
// exponential is in the row, as each is at least 1. So they fit 32 bits, the probability needs no limit, and for 7 and
// 8 bits (with all doubled) it is the upper byte, for 15 bits the upper two bytes. A row of one key alone gets there by
// lone_exponential().
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_scale.h"
#include "kernels/cuda/attention_score.h"

namespace ivit::cuda::attention {

constexpr uint32_t kLargestSum = INT32_MAX;

// The exponential of the only key of a row. A power of two would give the probability 1, which is too much by one; the
// largest number gives the largest probability.
constexpr uint32_t lone_exponential(uint32_t exponential) {
  return (exponential & (exponential - 1)) == 0 ? kLargestSum : exponential;
}

// sum + a, saturated; neither is above the largest sum.
constexpr uint32_t add_saturated(uint32_t sum, uint32_t a) { return sum + a < kLargestSum ? sum + a : kLargestSum; }

template <bool kSplit, class Item>
class Probabilities;

// What every block is told of the softmax.
struct Normalized {
  static constexpr int kScoreBytes = 1;
  template <bool kSplit, class Item>
  using Rows = Probabilities<kSplit, Item>;

  const int32_t* exponentials;  // [256], by the distance from the maximum
  Scale score;
  Scale biased;        // the second one, of scores with a bias
  uint32_t numerator;  // of the factor of a row
  uint32_t rounding;   // added to a product, shifted like the factor
  int factor_shift;    // 1 for 8 fractional bits, else 0
  uint32_t masked_exponential;
  bool lone_key;     // whether the only exponential of a row needs lone_exponential()
  bool narrow_sums;  // whether the sum of a row's exponentials fits 32 bits
  bool split;        // whether probabilities have two bytes

  // An entry of the table of a block.
  __device__ __forceinline__ uint32_t entry(int distance) const {
    const uint32_t exponential = static_cast<uint32_t>(__ldg(exponentials + distance));
    return lone_key ? lone_exponential(exponential) : exponential;
  }
};

// The rows of a lane on their way from scores to probabilities.
template <bool kSplit, class Item>
class Probabilities {
 public:
  // `table` is that of the block, `scores` where the lane's scores of the first step go.
  __device__ __forceinline__ Probabilities(const Problem& problem, const Normalized& softmax, const Item& item,
                                           const uint32_t* table, uint4* scores)
      : problem_(problem), softmax_(softmax), item_(item), table_(table), scores_(scores) {}

  // Takes the products of one step.
  __device__ __forceinline__ void take(int step, const int32_t (&sums)[4][4]) {
    int32_t scores[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      int32_t products[4];
      products_of(sums, r, products);
      softmax_.score.apply_four(products, scores[r]);
      if constexpr (Item::kBiased) add_biases(step, r, scores[r]);
      set_masked(item_, step, r, -128, scores[r]);
    }
    set_missing(problem_, step, -128, scores);
    raise_maxima(scores, row_maxima_);
    uint32_t words[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) words[r] = pack_saturated(scores[r]) ^ 0x80808080u;
    scores_[step * kWarpLanes] = {words[0], words[1], words[2], words[3]};
  }

  // After the last products, before the first probabilities.
  __device__ __forceinline__ void end_scores() {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      maxima_[row] = static_cast<uint32_t>(clamp_int8(row_maximum(row_maxima_[row])) + 128) * 0x01010101u;
    }
    uint32_t sums[2] = {0, 0};
    for (int step = 0; step < step_count(problem_.keys); ++step) add_step(step, sums);
    invert_sums(sums);
  }

  // The probabilities of one step as fragments of A: `upper` has their upper bytes, or all of them for 7 and 8
  // fractional bits, `lower` the lower bytes of 15 bits.
  __device__ __forceinline__ void fragments(int step, uint32_t (&upper)[4], uint32_t (&lower)[4]) {
    const uint4 scores = scores_[step * kWarpLanes];
    const uint32_t words[4] = {scores.x, scores.y, scores.z, scores.w};
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      uint32_t p[4];
      look_up_four(step, r, words[r], p);
#pragma unroll
      for (int i = 0; i < 4; ++i) p[i] = p[i] * factors_[r % 2] + softmax_.rounding;
      pack_upper_bytes<kSplit>(p, upper[r], lower[r]);
    }
  }

  // After the last probabilities: nothing is left to do, and sums of values are contexts.
  __device__ __forceinline__ void end_fragments() {}
  __device__ __forceinline__ void divide(int, int32_t (&)[4]) const {}

 private:
  // Four scores with their second scale and bias.
  __device__ __forceinline__ void add_biases(int step, int r, int32_t (&scores)[4]) const {
    int32_t biases[4];
    item_.biases(step, r / 2, r % 2, biases);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t x = clamp_int8(scores[i]);
      scores[i] = softmax_.biased.upper ? biases[i] + softmax_.biased.template apply_upper<true>(x)
                                        : saturate<int8_t>(biases[i] + softmax_.biased.apply(x));
    }
  }

  // The exponentials of four scores. No byte of `scores` is larger than those of the maximum.
  __device__ __forceinline__ void look_up_four(int step, int r, uint32_t scores, uint32_t (&exponentials)[4]) const {
    const uint32_t distances = maxima_[r % 2] - scores;
    const uint32_t copy = static_cast<uint32_t>(lane_index() % kCopies);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // The distance in byte i times the number of copies.
      exponentials[i] = table_[__dp4a(distances, static_cast<unsigned>(kCopies) << (8 * i), copy)];
    }
    set_masked(item_, step, r, softmax_.masked_exponential, exponentials);
  }

  // Adds the exponentials of one step to the sums of both rows.
  __device__ __forceinline__ void add_step(int step, uint32_t (&sums)[2]) const {
    const uint4 scores = scores_[step * kWarpLanes];
    const uint32_t words[4] = {scores.x, scores.y, scores.z, scores.w};
    uint32_t exponentials[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) look_up_four(step, r, words[r], exponentials[r]);
    set_missing(problem_, step, 0u, exponentials);
    if (softmax_.narrow_sums) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const uint32_t (&four)[4] = exponentials[r];
        sums[r % 2] += (four[0] + four[1]) + (four[2] + four[3]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 16; ++i) sums[i / 4 % 2] = add_saturated(sums[i / 4 % 2], exponentials[i / 4][i % 4]);
    }
  }

  // The factor F of each row from the sums of the lanes, doubled for 8 fractional bits.
  __device__ __forceinline__ void invert_sums(const uint32_t (&sums)[2]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      uint32_t sum = sums[row] < kLargestSum ? sums[row] : kLargestSum;
#pragma unroll
      for (int lanes = 1; lanes < 4; lanes *= 2) {
        sum = add_saturated(sum, __shfl_xor_sync(0xffffffffu, sum, lanes));
      }
      factors_[row] = (softmax_.numerator / sum) << softmax_.factor_shift;
    }
  }

  const Problem& problem_;
  const Normalized& softmax_;
  const Item& item_;
  const uint32_t* const table_;
  uint4* const scores_;
  int32_t row_maxima_[2] = {INT32_MIN, INT32_MIN};
  uint32_t maxima_[2];  // plus 128, in all bytes of a word
  uint32_t factors_[2];
};

}  // namespace ivit::cuda::attention
