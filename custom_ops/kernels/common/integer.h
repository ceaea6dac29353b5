// Integer arithmetic that C++ does not have and several operators need.
#pragma once

#include <cstdint>

namespace ivit {

constexpr int64_t floor_divide(int64_t x, int64_t divisor) {
  const int64_t quotient = x / divisor;
  return quotient * divisor != x && (x < 0) != (divisor < 0) ? quotient - 1 : quotient;
}

// sum / count rounded to the nearest integer, ties to the even one.
constexpr int64_t round_half_even_divide(int64_t sum, int64_t count) {
  const int64_t quotient = floor_divide(sum, count);
  const int64_t remainder = sum - quotient * count;
  return quotient + (2 * remainder + (quotient & 1) > count ? 1 : 0);
}

constexpr int64_t divide_up(int64_t x, int64_t divisor) { return (x + divisor - 1) / divisor; }

constexpr int64_t round_up(int64_t x, int64_t multiple) { return divide_up(x, multiple) * multiple; }

}  // namespace ivit
