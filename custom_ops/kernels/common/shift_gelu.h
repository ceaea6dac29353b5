// The values of ShiftGELU, shared by all devices.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/common/shift_exp.h"

namespace ivit {

// The results of all values up to the row maximum, that of `value` at value + 128.
inline void shift_gelu_values(int8_t row_max, const ShiftExpTable& exponential, int16_t* values) {
  constexpr int lowest = std::numeric_limits<int8_t>::min();
  const int64_t at_zero = exponential[-row_max];
  for (int value = lowest; value <= row_max; ++value) {
    const int64_t numerator = exponential[value - row_max];
    const int64_t sigmoid = (numerator * reciprocal(numerator + at_zero)) >> 24;
    values[value - lowest] = static_cast<int16_t>(value * sigmoid);
  }
}

}  // namespace ivit
