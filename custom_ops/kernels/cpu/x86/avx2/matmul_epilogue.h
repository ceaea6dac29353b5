// What the 256-bit matrix products do with a finished tile of accumulators.
#pragma once

#include <cstdint>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/x86/avx2/tile.h"

namespace ivit::cpu::avx2 {

// Stores rows [row, row + rows) of a panel; `sums` has 16 accumulators a row, the bias not yet added.
using StoreTile = void (*)(const int32_t* sums, int64_t row, int64_t rows, int64_t panel, const PackedLinear& linear,
                           const Epilogue& epilogue);

// The vectorised store where the scales allow 32-bit lanes, the scalar one otherwise.
StoreTile choose_store(const PackedLinear& linear, const Epilogue& epilogue);

}  // namespace ivit::cpu::avx2
