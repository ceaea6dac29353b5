// ShiftGELU: x * sigmoid(1.702 x) by shifts, relative to the row maximum.
#pragma once

#include <cstdint>

#include "kernels/common/shift_gelu.h"
#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

void shift_gelu_row(const int8_t* x, int64_t channels, const ShiftExpTable& exponential, int16_t* y);

void shift_gelu(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t channels,
                const ShiftExpTable& exponential, int16_t* y);

// ShiftGELU and its requantisation of whole rows, in place: the portable form of Variant::gelu.
void gelu_rows_portable(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);
#ifdef IVIT_X86_64
void gelu_rows_avx512vnni(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);
#endif

}  // namespace ivit::cpu
