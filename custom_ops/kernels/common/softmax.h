// The integer softmax of attentions, shared by all devices: with exponentials by shifts, or from a table.
//
// The exponential E of a score is a matter of its distance from the maximum of its row. With S, the sum of the row, at
// most 2^31 - 1, and F = numerator // S, its probability is (E * F + rounding) >> (31 - frac_bits), at most
// 2^frac_bits - 1. If S is not saturated, E * F + rounding is at most 2^31, as E is at most S; if it is, F is 1 or 0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/common/shift_exp.h"

namespace ivit {

constexpr int kScoreDistances = 256;

struct Softmax {
  // By distance. The first one is the largest and positive, none is negative.
  int32_t exponentials[kScoreDistances];
  // That of a score which must not count.
  int32_t masked;
  uint32_t numerator;
  uint32_t rounding;
  int frac_bits;

  constexpr uint32_t factor(int64_t sum) const {
    constexpr int64_t limit = std::numeric_limits<int32_t>::max();
    return numerator / static_cast<uint32_t>(sum < limit ? sum : limit);
  }

  constexpr int32_t probability(int32_t exponential, uint32_t factor) const {
    const uint32_t scaled = (static_cast<uint32_t>(exponential) * factor + rounding) >> (31 - frac_bits);
    const uint32_t limit = (uint32_t{1} << frac_bits) - 1;
    return static_cast<int32_t>(scaled < limit ? scaled : limit);
  }

  // Whether the sum of a row of `count` scores fits int32.
  constexpr bool sums_fit(int64_t count) const {
    return exponentials[0] <= std::numeric_limits<int32_t>::max() / count;
  }

  // What the probabilities of a row of `count` scores sum up to at most: rounding adds half a step to each.
  constexpr int64_t largest_sum(int64_t count) const {
    if (!sums_fit(count)) return count << frac_bits;
    return (int64_t{1} << frac_bits) + (rounding == 0 ? 0 : count);
  }
};

// Shiftmax.
inline Softmax shift_softmax(int64_t x0, int64_t n, int frac_bits) {
  Softmax softmax{{}, static_cast<int32_t>(-x0), uint32_t{1} << 31, 0, frac_bits};
  for (int32_t d = 0; d < kScoreDistances; ++d) softmax.exponentials[d] = shift_exp(-d, x0, n);
  return softmax;
}

// TableSoftmax.
inline Softmax table_softmax(const int32_t* exponentials, int frac_bits) {
  const uint32_t half = uint32_t{1} << (30 - frac_bits);
  Softmax softmax{{}, 0, (uint32_t{1} << 31) - 1 - half, half, frac_bits};
  std::copy_n(exponentials, kScoreDistances, softmax.exponentials);
  return softmax;
}

}  // namespace ivit
