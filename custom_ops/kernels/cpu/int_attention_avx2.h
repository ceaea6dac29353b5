// IntAttention with 256-bit registers.
#pragma once

#include "kernels/cpu/int_attention.h"

namespace ivit::cpu {

extern const AttentionKernel kAttentionAvx2;
extern const AttentionKernel kAttentionAvxVnni;

}  // namespace ivit::cpu
