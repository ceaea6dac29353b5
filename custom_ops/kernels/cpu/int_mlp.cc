// IntMlpAdd: the feed-forward half of a transformer block with its residual connection.
#include "kernels/cpu/int_mlp.h"

#include <algorithm>

#include "kernels/cpu/requantize.h"
#include "kernels/cpu/shift_gelu.h"

namespace ivit::cpu {
namespace {

// Rows that go through the whole block together: bounds the hidden tensor whatever the batch size.
constexpr int64_t kBlockRows = 1024;

// ShiftGELU and its requantisation, in place.
void activate(const Parallel& parallel, const Mlp& mlp, int64_t rows, int8_t* hidden) {
  const int64_t width = mlp.fc1.weight.columns();
  for_row_ranges(parallel, rows, width, [&](int64_t begin, int64_t end) {
    const auto activated = scratch<int16_t>(width);
    for (int64_t row = begin; row < end; ++row) {
      shift_gelu_row(hidden + row * width, width, mlp.exponential, activated.get());
      requantize_row(activated.get(), width, mlp.gelu_scale, hidden + row * width);
    }
  });
}

}  // namespace

void int_mlp_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Mlp& mlp, const Residual& residual,
                 int16_t* y) {
  const auto hidden = scratch<int8_t>(std::min(rows, kBlockRows) * mlp.fc1.weight.columns());
  for (int64_t first = 0; first < rows; first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows - first);
    const int64_t offset = first * mlp.fc2.weight.columns();
    int_linear(parallel, x + first * mlp.fc1.weight.inner(), count, mlp.fc1, hidden.get());
    activate(parallel, mlp, count, hidden.get());
    const Residual block_residual{residual.values + offset, residual.branch_scale, residual.residual_scale};
    int_linear_add(parallel, hidden.get(), count, mlp.fc2, block_residual, y + offset);
  }
}

}  // namespace ivit::cpu
