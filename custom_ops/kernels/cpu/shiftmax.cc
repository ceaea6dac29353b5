// Shiftmax: integer softmax over the last axis.
#include "kernels/cpu/shiftmax.h"

#include <algorithm>

namespace ivit::cpu {

void shiftmax_row(const int8_t* x, int64_t count, const ShiftExpTable& exponential, int frac_bits, int16_t* y) {
  int8_t row_max = INT8_MIN;
  for (int64_t i = 0; i < count; ++i) row_max = std::max(row_max, x[i]);
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += exponential[x[i] - row_max];
  const int64_t factor = reciprocal(sum);
  for (int64_t i = 0; i < count; ++i) y[i] = probability(exponential[x[i] - row_max], factor, frac_bits);
}

void shiftmax(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const ShiftExpTable& exponential,
              int frac_bits, int16_t* y) {
  for_row_ranges(parallel, rows, count, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      shiftmax_row(x + row * count, count, exponential, frac_bits, y + row * count);
    }
  });
}

}  // namespace ivit::cpu
