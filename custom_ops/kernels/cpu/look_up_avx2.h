// Look-ups of bytes, and ShiftGELU by table, with AVX2.
#pragma once

#include <cstdint>

#include "kernels/cpu/gelu_table.h"

namespace ivit::cpu {

// See Variant::look_up and Variant::gelu.
void look_up_avx2(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);
void gelu_rows_avx2(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);

}  // namespace ivit::cpu
