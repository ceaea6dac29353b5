// The kernels in plain C++, each described at its field of Variant: every variant's where it has none of its own.
#pragma once

#include <cstdint>

#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/matmul.h"

namespace ivit::cpu::generic {

double peak(double seconds);

extern const MatmulKernel kMatmul;
extern const AttentionKernel kAttention;

void attend_window(const Window& window, const WindowAttention& attention, int64_t head);
void gelu_rows(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);
void layer_norm_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y);
void layer_norm16_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y);
void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);

}  // namespace ivit::cpu::generic
