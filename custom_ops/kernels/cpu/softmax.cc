// Shiftmax and TableSoftmax: integer softmax over the last axis.
#include "kernels/cpu/softmax.h"

namespace ivit::cpu {

void softmax_row(const int8_t* x, int64_t count, const Softmax& softmax, int16_t* y) {
  masked_softmax_row(x, count, softmax, [](int64_t) { return true; }, y);
}

void softmax_rows(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const Softmax& softmax,
                  int16_t* y) {
  for_row_ranges(parallel, rows, count, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) softmax_row(x + row * count, count, softmax, y + row * count);
  });
}

}  // namespace ivit::cpu
