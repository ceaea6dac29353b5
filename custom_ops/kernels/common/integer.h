// Integer arithmetic that C++ does not have and several operators need.
#pragma once

#include <cstdint>

namespace ivit {

constexpr int64_t floor_divide(int64_t x, int64_t divisor) {
  const int64_t quotient = x / divisor;
  return quotient * divisor != x && (x < 0) != (divisor < 0) ? quotient - 1 : quotient;
}

constexpr int64_t divide_up(int64_t x, int64_t divisor) { return (x + divisor - 1) / divisor; }

constexpr int64_t round_up(int64_t x, int64_t multiple) { return divide_up(x, multiple) * multiple; }

}  // namespace ivit
