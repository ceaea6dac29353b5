// The matrix product by Hopper's own instructions (wgmma, fed by the bulk copy engine), made of CUTLASS.
#pragma once

#include <cstdint>

#include "kernels/cuda/matmul.h"

namespace ivit::cuda {

// Whether shapes and addresses are ones it takes: the copy engine wants rows of whole 16 bytes.
bool matmul_hopper_takes(const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear,
                         const Epilogue& epilogue);

// As matmul(), for what matmul_hopper_takes.
void matmul_hopper(const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear, const Epilogue& epilogue,
                   Stream stream);

}  // namespace ivit::cuda
