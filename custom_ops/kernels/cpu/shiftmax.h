// Shiftmax: integer softmax over the last axis.
#pragma once

#include <cstdint>

#include "kernels/common/shift_exp.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// The probability of an exponential, given the reciprocal of the row's sum.
constexpr int16_t probability(int64_t exponential, int64_t factor, int frac_bits) {
  const int64_t scaled = (exponential * factor) >> (31 - frac_bits);
  const int64_t limit = (int64_t{1} << frac_bits) - 1;
  return static_cast<int16_t>(scaled < limit ? scaled : limit);
}

// One row of `count` scores to probabilities with `frac_bits` fractional bits.
void shiftmax_row(const int8_t* x, int64_t count, const ShiftExpTable& exponential, int frac_bits, int16_t* y);

void shiftmax(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const ShiftExpTable& exponential,
              int frac_bits, int16_t* y);

}  // namespace ivit::cpu
