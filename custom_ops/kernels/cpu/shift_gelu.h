// ShiftGELU: x * sigmoid(1.702 x) by shifts, relative to the row maximum.
#pragma once

#include <cstdint>

#include "kernels/common/shift_gelu.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

void shift_gelu_row(const int8_t* x, int64_t channels, const ShiftExpTable& exponential, int16_t* y);

void shift_gelu(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t channels,
                const ShiftExpTable& exponential, int16_t* y);

}  // namespace ivit::cpu
