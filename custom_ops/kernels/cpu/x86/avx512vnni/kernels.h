// The kernels with AVX-512, VNNI and VBMI.
#pragma once

#include "kernels/cpu/kernel_types.h"

namespace ivit::cpu::avx512vnni {

extern const MatmulKernel kMatmul;
extern const AttentionKernel kAttention;
WindowAttentionKernel attend_window;
extern const DeferredAttentionKernel kDeferredAttention;
DeferredWindowAttentionKernel attend_deferred_window;
Peak peak;
LayerNormRows layer_norm_rows;
LayerNorm16Rows layer_norm16_rows;
LookUp look_up;
LookUpRows look_up_rows;

}  // namespace ivit::cpu::avx512vnni
