// The portable matrix product.
#pragma once

#include "kernels/cpu/dot.h"
#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

extern const MatmulKernel kMatmulPortable;

}  // namespace ivit::cpu
