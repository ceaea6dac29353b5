// The kernels with 256-bit registers.
#pragma once

#include "kernels/cpu/kernel_types.h"

namespace ivit::cpu::avx2 {

extern const MatmulKernel kMatmul;
extern const MatmulKernel kMatmulVnni;
extern const AttentionKernel kAttention;
extern const AttentionKernel kAttentionVnni;
WindowAttentionKernel attend_window;
WindowAttentionKernel attend_window_vnni;
extern const DeferredAttentionKernel kDeferredAttention;
extern const DeferredAttentionKernel kDeferredAttentionVnni;
DeferredWindowAttentionKernel attend_deferred_window;
DeferredWindowAttentionKernel attend_deferred_window_vnni;
Peak peak;
Peak peak_vnni;
LayerNormRows layer_norm_rows;
LookUp look_up;
LookUpRows look_up_rows;

}  // namespace ivit::cpu::avx2
