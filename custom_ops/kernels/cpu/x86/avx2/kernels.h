// The kernels with 256-bit registers, each described at its field of Variant.
#pragma once

#include <cstdint>

#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/matmul.h"

namespace ivit::cpu::avx2 {

double peak(double seconds);
double peak_vnni(double seconds);

extern const MatmulKernel kMatmul;
extern const MatmulKernel kMatmulVnni;
extern const AttentionKernel kAttention;
extern const AttentionKernel kAttentionVnni;

void attend_window(const Window& window, const WindowAttention& attention, int64_t head);
void attend_window_vnni(const Window& window, const WindowAttention& attention, int64_t head);
void gelu_rows(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);
void layer_norm_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y);
void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);

}  // namespace ivit::cpu::avx2
