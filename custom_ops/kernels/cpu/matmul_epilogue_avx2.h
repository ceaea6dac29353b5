// What the 256-bit matrix products do with a finished tile of accumulators.
#pragma once

#include <cstdint>

#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

// A panel is two registers wide. Column 8 * L + 4 * j + i stands in lane 4 * L + i of register j: a saturating pack of
// both, which works inside 128-bit lanes, then gives 16 values in natural order.
constexpr int64_t kYmmPanel = 16;
inline constexpr uint8_t kYmmOrder[kYmmPanel] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};

// Stores rows [row, row + rows) of a panel; `sums` has 16 accumulators a row, the bias not yet added.
using StoreTile = void (*)(const int32_t* sums, int64_t row, int64_t rows, int64_t panel, const PackedLinear& linear,
                           const Epilogue& epilogue);

// The vectorised store where the scales allow 32-bit lanes, the scalar one otherwise.
StoreTile choose_store_avx2(const PackedLinear& linear, const Epilogue& epilogue);

}  // namespace ivit::cpu
