// The shift exponential of Shiftmax and ShiftGELU, shared by all devices.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/common/integer.h"

namespace ivit {

// 2^n * |x0| * exp(d * scale) with x0 = floor(-1 / scale) < 0, saturated to 2^31 - 1 (I-ViT, equations 8-12).
constexpr int32_t shift_exp(int32_t d, int64_t x0, int64_t n) {
  // log2(e) is 1.0111 in binary: p = d + d / 2 - d / 16.
  const int64_t scaled = int64_t{d} + (d >> 1) - (d >> 4);
  const int64_t p = scaled > n * x0 ? scaled : n * x0;
  const int64_t q = floor_divide(p, x0);
  const int64_t r = p - q * x0;
  // From 32 on the result saturates in any case; the limit keeps the shifted value below 2^62.
  const int64_t left_shift = n - q < 32 ? n - q : 32;
  const int64_t e = ((r - 2 * x0) << left_shift) >> 1;
  constexpr int64_t limit = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(e < limit ? e : limit);
}

// Every value of shift_exp that differences of int8 values can ask for: -255 (x - max) to 128 (0 - max).
class ShiftExpTable {
 public:
  ShiftExpTable(int64_t x0, int64_t n) {
    for (int32_t d = kLowest; d <= kHighest; ++d) values_[d - kLowest] = shift_exp(d, x0, n);
  }
  int32_t operator[](int32_t d) const { return values_[d - kLowest]; }

 private:
  static constexpr int32_t kLowest = -255;
  static constexpr int32_t kHighest = 128;
  int32_t values_[kHighest - kLowest + 1];
};

// floor(2^31 / sum) for a positive sum of exponentials, the sum saturated to 2^31 - 1.
constexpr int64_t reciprocal(int64_t sum) {
  constexpr int64_t limit = std::numeric_limits<int32_t>::max();
  return (int64_t{1} << 31) / (sum < limit ? sum : limit);
}

}  // namespace ivit
