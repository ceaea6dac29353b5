// IntMlpAdd, IntTableMlpAdd, IntTokenMlpAdd: the feed-forward half of a transformer block with its residual connection,
// and with Norm the normalisation after it.
//
// Rows are independent, so a thread takes a block of rows through the whole operator: the hidden activations stay in
// its cache, and threads meet only at the end.
#include "kernels/cpu/int_mlp.h"

#include <algorithm>

#include "kernels/cpu/requantize.h"
#include "kernels/cpu/shift_gelu.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// The hidden activations of a block of rows share a second-level cache with the panels of weights that stream past
// them; this also bounds the scratch memory of a thread, whatever the batch.
constexpr int64_t kHiddenBytes = 320 * 1024;

int64_t block_rows(int64_t width, int64_t row_tile) {
  return std::max(row_tile, kHiddenBytes / std::max<int64_t>(1, width) / row_tile * row_tile);
}

// In place. Where rows have tables of their own, chosen[row] becomes the number of a row's.
void activate(const Variant& variant, const MlpActivation& activation, int64_t rows, int64_t width, int8_t* hidden,
              uint8_t* chosen) {
  if (activation.table != nullptr) {
    variant.look_up(reinterpret_cast<const uint8_t*>(hidden), rows * width, activation.table, hidden);
    return;
  }
  if (activation.row_tables.values != nullptr) {
    variant.look_up_rows(hidden, rows, width, activation.row_tables, chosen);
    return;
  }
  const AlignedArray<int16_t> activated(width);
  for (int64_t row = 0; row < rows; ++row) {
    shift_gelu_row(hidden + row * width, width, *activation.exponential, activated.get());
    requantize_row(activated.get(), width, activation.scale, hidden + row * width);
  }
}

}  // namespace

void int_mlp_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Mlp& mlp, const Residual& residual,
                 int16_t* y, const Norm& norm) {
  const Variant& variant = active_variant();
  const AddResidual add = add_residual_to(y, mlp.fc2, residual);
  const int64_t row_tile = variant.matmul.row_tile;
  const int64_t blocks = divide_up(rows, block_rows(mlp.fc1.columns, row_tile));
  // As many for each thread, so that none waits for another's last block.
  const Split split(rows, round_up(blocks, wanted_tasks() / 2), row_tile);
  parallel.run(split.count(), [&](int64_t task) {
    const int64_t first = split.begin(task);
    const int64_t count = split.end(task) - first;
    thread_local Scratch<int8_t> scratch;
    thread_local Scratch<uint8_t> choices;
    int8_t* const hidden = scratch.get(count * mlp.fc1.columns);
    uint8_t* const chosen = choices.get(count);
    variant.matmul.compute(x + first * mlp.fc1.inner, mlp.fc1.inner, count, mlp.fc1, 0, mlp.fc1.panels(),
                           requantize_to(hidden, mlp.fc1));
    activate(variant, mlp.activation, count, mlp.fc1.columns, hidden, chosen);
    const AddResidual of_rows = add.from_row(first);
    const Epilogue finish =
        mlp.row_scales == nullptr ? Epilogue(of_rows) : AddTokenResidual{of_rows, *mlp.row_scales, chosen};
    variant.matmul.compute(hidden, mlp.fc2.inner, count, mlp.fc2, 0, mlp.fc2.panels(), finish);
    if (norm.y != nullptr) {
      const int64_t offset = first * mlp.fc2.columns;
      variant.layer_norm(y + offset, count, mlp.fc2.columns, norm.affine, norm.y + offset);
    }
  });
}

}  // namespace ivit::cpu
