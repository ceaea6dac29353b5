// The matrix product by the tensor-core instruction that every generation since Turing has.
#pragma once

#include <cstdint>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_tile.h"

namespace ivit::cuda {

// As matmul(), in tiles of kTiles[tile].
void matmul_mma(int tile, const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear,
                const Epilogue& epilogue, Stream stream);

}  // namespace ivit::cuda
