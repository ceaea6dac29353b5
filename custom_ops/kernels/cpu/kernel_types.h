// The kernels that an instruction set may have of its own: what each computes, all of them the same integers.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/row_tables.h"

namespace ivit::cpu {

// Multiply-adds of 8-bit integers per second, in units of 10^9, that one thread does without touching memory.
using Peak = double(double seconds);

// IntLayerNorm of whole rows.
using LayerNormRows = void(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y);

// The same, clamped to int16; in place is fine.
using LayerNorm16Rows = void(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y);

// y[i] = table[x[i]] for a table of 256 bytes; in place is fine.
using LookUp = void(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);

// Whole rows in place, each through the table of its largest value; its number goes to chosen[row].
using LookUpRows = void(int8_t* x, int64_t rows, int64_t channels, const RowTables& tables, uint8_t* chosen);

}  // namespace ivit::cpu
