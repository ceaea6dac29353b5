// The matrix product with AVX-512 VNNI, and what the processor needs for it.
#pragma once

#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

extern const MatmulKernel kMatmulAvx512Vnni;

bool supports_avx512vnni();

// See Variant::peak.
double peak_avx512vnni(double seconds);

}  // namespace ivit::cpu
