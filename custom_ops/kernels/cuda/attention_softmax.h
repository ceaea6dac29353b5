// From the scores of a warp's 16 queries to probabilities.
//
// A lane works on two rows. The probability of an exponential E is (E * F + rounding) >> (31 - frac_bits), with
// F = numerator // S, where S, the sum of the row, is at least E. The product and the rounding together are below 2^31:
// with rounding, by the choice of the numerator; without, the numerator is 2^31, and so is E * F only if no other
// exponential is in the row, as each is at least 1. So they fit 32 bits, the probability needs no limit, and for 7 and
// 8 bits (with all doubled) it is the upper byte, for 15 bits the upper two bytes. A row of one key alone gets there by
// load_exponentials().
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_problem.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/tensor_core.h"

namespace ivit::cuda::attention {

constexpr uint32_t kLargestSum = INT32_MAX;

// The exponential of the only key of a row. A power of two would give the probability 1, which is too much by one; the
// largest number gives the largest probability.
constexpr uint32_t lone_exponential(uint32_t exponential) {
  return (exponential & (exponential - 1)) == 0 ? kLargestSum : exponential;
}

// Copies the exponentials to shared memory. Followed by a barrier before they are used.
__device__ __forceinline__ void load_exponentials(const Problem& problem, int8_t* memory) {
  constexpr int kVectors = kCopies / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kDistances * kVectors; i += static_cast<int>(blockDim.x)) {
    uint32_t exponential = static_cast<uint32_t>(__ldg(problem.exponentials + i / kVectors));
    if (problem.lone_key) exponential = lone_exponential(exponential);
    reinterpret_cast<uint4*>(memory)[i] = {exponential, exponential, exponential, exponential};
  }
}

// The maximum of each row, over the four lanes that share it, plus 128, in all bytes of a word.
__device__ __forceinline__ void spread_maxima(const int32_t (&maxima)[2], uint32_t (&spread)[2]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    int32_t maximum = maxima[row];
#pragma unroll
    for (int lanes = 1; lanes < 4; lanes *= 2) {
      const int32_t other = __shfl_xor_sync(0xffffffffu, maximum, lanes);
      maximum = other > maximum ? other : maximum;
    }
    spread[row] = static_cast<uint32_t>(clamp_int8(maximum) + 128) * 0x01010101u;
  }
}

// The exponentials of four scores. No byte of `scores` is larger than those of `maximum`.
template <class Item>
__device__ __forceinline__ void look_up_four(const Problem& problem, const Item& item, const uint32_t* table,
                                             uint32_t maximum, uint32_t scores, int step, int half, int row,
                                             uint32_t (&exponentials)[4]) {
  const uint32_t distances = maximum - scores;
  const uint32_t copy = static_cast<uint32_t>(lane_index() % kCopies);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    // The distance in byte i times the number of copies.
    exponentials[i] = table[__dp4a(distances, static_cast<unsigned>(kCopies) << (8 * i), copy)];
  }
  if (item.masks()) {
    const uint32_t differences = item.differences(step, half, row);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((differences >> (8 * i) & 255) != 0) exponentials[i] = item.masked_exponential(problem);
    }
  }
}

// sum + a, saturated; neither is above the largest sum.
constexpr uint32_t add_saturated(uint32_t sum, uint32_t a) { return sum + a < kLargestSum ? sum + a : kLargestSum; }

// Adds the exponentials of one step to the sums of both rows.
template <class Item>
__device__ __forceinline__ void add_step(const Problem& problem, const Item& item, const uint32_t* table,
                                         const uint32_t (&maxima)[2], uint4 scores, int step, uint32_t (&sums)[2]) {
  const uint32_t words[4] = {scores.x, scores.y, scores.z, scores.w};
  const int left = problem.keys - kStepKeys * step;
  uint32_t exponentials[4][4];
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    look_up_four(problem, item, table, maxima[r % 2], words[r], step, r / 2, r % 2, exponentials[r]);
  }
  if (left < kStepKeys) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (element_key(lane_index(), i / 8, i % 4) >= left) exponentials[i / 4][i % 4] = 0;
    }
  }
  if (problem.narrow_sums) {
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
__device__ __forceinline__ void invert_sums(const Problem& problem, const uint32_t (&sums)[2], uint32_t (&factors)[2]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    uint32_t sum = sums[row] < kLargestSum ? sums[row] : kLargestSum;
#pragma unroll
    for (int lanes = 1; lanes < 4; lanes *= 2) {
      sum = add_saturated(sum, __shfl_xor_sync(0xffffffffu, sum, lanes));
    }
    factors[row] = (problem.numerator / sum) << problem.factor_shift;
  }
}

// The probabilities of one step as fragments of A: `upper` has their upper bytes, or all of them for 7 and 8 fractional
// bits, `lower` the lower bytes of 15 bits.
template <bool kSplit, class Item>
__device__ __forceinline__ void probability_step(const Problem& problem, const Item& item, const uint32_t* table,
                                                 const uint32_t (&maxima)[2], const uint32_t (&factors)[2],
                                                 uint4 scores, int step, uint32_t (&upper)[4], uint32_t (&lower)[4]) {
  const uint32_t words[4] = {scores.x, scores.y, scores.z, scores.w};
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = r % 2;
    uint32_t p[4];
    look_up_four(problem, item, table, maxima[row], words[r], step, r / 2, row, p);
#pragma unroll
    for (int i = 0; i < 4; ++i) p[i] = p[i] * factors[row] + problem.rounding;
    // Bytes 2 of two products, then bytes 3.
    const uint32_t first = __byte_perm(p[0], p[1], 0x7362);
    const uint32_t second = __byte_perm(p[2], p[3], 0x7362);
    upper[r] = __byte_perm(first, second, 0x7632);
    if constexpr (kSplit) lower[r] = __byte_perm(first, second, 0x5410);
  }
}

}  // namespace ivit::cuda::attention
