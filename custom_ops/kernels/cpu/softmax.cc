// Shiftmax and TableSoftmax: integer softmax over the last axis.
#include "kernels/cpu/softmax.h"

#include <algorithm>

namespace ivit::cpu {

void softmax_row(const int8_t* x, int64_t count, const Softmax& softmax, int16_t* y) {
  int8_t row_max = INT8_MIN;
  for (int64_t i = 0; i < count; ++i) row_max = std::max(row_max, x[i]);
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += softmax.exponentials[row_max - x[i]];
  const uint32_t factor = softmax.factor(sum);
  for (int64_t i = 0; i < count; ++i) {
    y[i] = static_cast<int16_t>(softmax.probability(softmax.exponentials[row_max - x[i]], factor));
  }
}

void softmax_rows(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const Softmax& softmax,
                  int16_t* y) {
  for_row_ranges(parallel, rows, count, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) softmax_row(x + row * count, count, softmax, y + row * count);
  });
}

}  // namespace ivit::cpu
