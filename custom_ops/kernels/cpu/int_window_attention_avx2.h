// Attention inside a window with 256-bit registers.
#pragma once

#include "kernels/cpu/int_window_attention.h"

namespace ivit::cpu {

// See WindowAttentionKernel.
void attend_window_avx2(const Window& window, const WindowAttention& attention, int64_t head);
void attend_window_avxvnni(const Window& window, const WindowAttention& attention, int64_t head);

}  // namespace ivit::cpu
