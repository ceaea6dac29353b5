// The matrix products with 256-bit registers.
#pragma once

#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

extern const MatmulKernel kMatmulAvx2;
extern const MatmulKernel kMatmulAvxVnni;

}  // namespace ivit::cpu
