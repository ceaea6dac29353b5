// The matrix products with 256-bit registers.
#pragma once

#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

extern const MatmulKernel kMatmulAvx2;
extern const MatmulKernel kMatmulAvxVnni;

// See Variant::peak.
double peak_avx2(double seconds);
double peak_avxvnni(double seconds);

}  // namespace ivit::cpu
