// The portable matrix product: rows and columns widened to int16, eight inner products at a time.
#include <algorithm>
#include <variant>

#include "kernels/cpu/generic/dot.h"
#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu::generic {
namespace {

constexpr int64_t kBlockRows = 64;

// A panel of two columns, stored in groups of whole vectors, as two contiguous columns of int16.
void widen_panel(const uint8_t* panel, int64_t length, int16_t* columns) {
  for (int64_t k = 0; k < length; k += kDotPadding) {
    for (int64_t c = 0; c < kDotColumns; ++c) {
      for (int64_t i = 0; i < kDotPadding; ++i) {
        columns[c * length + k + i] = static_cast<int8_t>(panel[(k * kDotColumns) + c * kDotPadding + i]);
      }
    }
  }
}

template <class Stage>
void compute_with(const Stage& stage, const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear,
                  int64_t first_panel, int64_t last_panel) {
  const int64_t length = linear.padded_inner;
  const AlignedArray<int16_t> block(kBlockRows * length);
  const AlignedArray<int16_t> columns(kDotColumns * length);
  int32_t sums[kBlockRows][kDotColumns];
  for (int64_t first = 0; first < rows; first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows - first);
    const int64_t padded = round_up(count, kDotRows);
    std::fill_n(block.get(), padded * length, int16_t{0});
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* source = x + (first + row) * x_stride;
      std::copy(source, source + linear.inner, block.get() + row * length);
    }
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      widen_panel(linear.panel(panel), length, columns.get());
      for (int64_t row = 0; row < padded; row += kDotRows) {
        dot_4x2(block.get() + row * length, columns.get(), length, sums[row], kDotColumns);
      }
      const int64_t column = panel * kDotColumns;
      const int64_t last_column = std::min(linear.columns, column + kDotColumns);
      for (int64_t row = 0; row < count; ++row) {
        store_scalar(sums[row], first + row, column, last_column, linear, stage);
      }
    }
  }
}

void compute(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
             int64_t last_panel, const Epilogue& epilogue) {
  std::visit([&](const auto& stage) { compute_with(stage, x, x_stride, rows, linear, first_panel, last_panel); },
             epilogue);
}

}  // namespace

const MatmulKernel kMatmul = {{kDotColumns, kDotPadding, 0, nullptr}, kDotRows, compute};

}  // namespace ivit::cpu::generic
