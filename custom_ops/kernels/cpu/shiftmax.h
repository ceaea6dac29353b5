// Shiftmax: integer softmax over the last axis.
#pragma once

#include <cstdint>

#include "kernels/common/shift_exp.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// One row of `count` scores to probabilities with `frac_bits` fractional bits.
void shiftmax_row(const int8_t* x, int64_t count, const ShiftExpTable& exponential, int frac_bits, int16_t* y);

void shiftmax(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const ShiftExpTable& exponential,
              int frac_bits, int16_t* y);

}  // namespace ivit::cpu
