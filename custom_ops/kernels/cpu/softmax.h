// Shiftmax and TableSoftmax: integer softmax over the last axis.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/softmax.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// One row of `count` scores to probabilities. Scores for which visible(index) is false do not count: they leave the
// maximum alone, and their exponential is Softmax::masked.
template <class Visible>
void masked_softmax_row(const int8_t* x, int64_t count, const Softmax& softmax, const Visible& visible, int16_t* y) {
  int8_t row_max = INT8_MIN;
  for (int64_t i = 0; i < count; ++i) {
    if (visible(i)) row_max = std::max(row_max, x[i]);
  }
  const auto exponential = [&](int64_t i) {
    return visible(i) ? softmax.exponentials[row_max - x[i]] : softmax.masked;
  };
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += exponential(i);
  const uint32_t factor = softmax.factor(sum);
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<int16_t>(softmax.probability(exponential(i), factor));
}

// The same where all scores count.
void softmax_row(const int8_t* x, int64_t count, const Softmax& softmax, int16_t* y);

void softmax_rows(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const Softmax& softmax,
                  int16_t* y);

}  // namespace ivit::cpu
