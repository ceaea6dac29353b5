// Shiftmax and TableSoftmax: integer softmax over the last axis.
#pragma once

#include <cstdint>

#include "kernels/common/softmax.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// One row of `count` scores to probabilities.
void softmax_row(const int8_t* x, int64_t count, const Softmax& softmax, int16_t* y);

void softmax_rows(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t count, const Softmax& softmax,
                  int16_t* y);

}  // namespace ivit::cpu
