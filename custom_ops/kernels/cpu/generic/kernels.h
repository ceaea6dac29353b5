// The kernels in plain C++: every variant's where it has none of its own.
#pragma once

#include "kernels/cpu/kernel_types.h"

namespace ivit::cpu::generic {

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

}  // namespace ivit::cpu::generic
