// The matrix products with 256-bit registers: tiles of 6 rows x 16 columns, requantised as soon as they are complete.
#include <immintrin.h>

#include <algorithm>
#include <type_traits>
#include <variant>

#include "kernels/cpu/prefetch.h"
#include "kernels/cpu/x86/avx2/kernels.h"
#include "kernels/cpu/x86/avx2/matmul_epilogue.h"
#include "kernels/cpu/x86/avx2/operands.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// A block of rows stays in the second-level cache.
constexpr int64_t kBlockBytes = 256 * 1024;
constexpr int64_t kMaxBlockRows = 192;

int64_t block_rows(int64_t row_bytes) {
  const int64_t fitting = kBlockBytes / std::max<int64_t>(1, row_bytes) / kTileRows * kTileRows;
  return std::min(kMaxBlockRows, std::max(kTileRows, fitting));
}

template <class Operands, class Store>
void compute_with(const Store& store_tile, const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear,
                  int64_t first_panel, int64_t last_panel) {
  const int64_t steps = linear.padded_inner / Operands::kGroup;
  const int64_t panel_bytes = linear.padded_inner * kTileColumns;
  const int64_t row_bytes = round_up(linear.inner, 16) * Operands::kValueBytes;
  const int64_t most_rows = std::min(rows, block_rows(row_bytes));
  const Split blocks(rows, divide_up(rows, std::max<int64_t>(1, most_rows)), kTileRows);
  const AlignedArray<uint8_t> prepared_rows(most_rows * row_bytes);
  const AlignedArray<uint8_t> prepared_panel(steps * kTileStepBytes);
  int32_t start[kMaxBlockRows];
  alignas(32) int32_t sums[kTileRows * kTileColumns];
  for (int64_t b = 0; b < blocks.count(); ++b) {
    const int64_t first = blocks.begin(b);
    const int64_t count = blocks.end(b) - first;
    for (int64_t row = 0; row < count; ++row) {
      uint8_t* target = prepared_rows.get() + row * row_bytes;
      start[row] = Operands::prepare_row(x + (first + row) * x_stride, linear.inner, target);
    }
    const int64_t tiles = divide_up(count, kTileRows);
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      Prefetch next(linear.panel(panel + 1), panel + 1 < last_panel ? panel_bytes : 0, tiles);
      const uint8_t* weights = Operands::prepare_panel(linear.panel(panel), steps, prepared_panel.get());
      for (int64_t row = 0; row < count; row += kTileRows) {
        const int64_t tile_rows = std::min(kTileRows, count - row);
        next.step();
        const TileRows values{prepared_rows.get() + row * row_bytes, row_bytes, start + row};
        Operands::kTiles[tile_rows - 1](values, weights, steps, sums, kTileColumns);
        store_tile(sums, first + row, tile_rows, panel);
      }
    }
  }
}

template <class Operands>
void compute(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
             int64_t last_panel, const Epilogue& epilogue) {
  std::visit(
      [&](const auto& stage) {
        using Stage = std::decay_t<decltype(stage)>;
        const auto run = [&](const auto& store) {
          compute_with<Operands>(store, x, x_stride, rows, linear, first_panel, last_panel);
        };
        // int32 results are few: they have no vectors.
        if constexpr (!std::is_same_v<Stage, Saturate<int32_t>>) {
          if (VectorStore<Stage>::takes(linear, stage)) return run(VectorStore<Stage>(linear, stage));
        }
        run(ScalarStore(linear, epilogue));
      },
      epilogue);
}

template <class Operands>
constexpr PanelLayout kLayout = {kTileColumns, Operands::kGroup, Operands::kWeightOffset, kTileOrder};

}  // namespace

const MatmulKernel kMatmul = {kLayout<Avx2Operands>, kTileRows, compute<Avx2Operands>};
const MatmulKernel kMatmulVnni = {kLayout<AvxVnniOperands>, kTileRows, compute<AvxVnniOperands>};

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
