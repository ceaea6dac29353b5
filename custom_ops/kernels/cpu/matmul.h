// The matrix product under every linear layer, with requantisation (and residual, and position table) fused behind it:
// what the instruction-set variants implement, and how they are called.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// Columns are packed in panels. Inside a panel, `group` consecutive inner elements of a column stand together, as the
// multiply-add instruction takes them: weight[panel][inner / group][panel_columns][group].
struct PanelLayout {
  int64_t panel_columns;
  int64_t group;
  // Added to every weight; 128 makes int8 weights the unsigned operand of vpdpbusd.
  int weight_offset;
  // The column (within the panel) that stands at each place of a panel; null for the natural order. Kernels choose it
  // so that their saturating packs give natural order.
  const uint8_t* order;
};

// A linear layer whose weight, bias and requantisation are packed for one variant. Per-column arrays have the order of
// the packed columns.
//
// `narrow` says whether every column has the form of NarrowScale for its largest possible accumulator. If it is false,
// kernels take the scalar way.
struct PackedLinear {
  PackedLinear() = default;
  PackedLinear(const PanelLayout& layout, const int8_t* weight, int64_t inner, int64_t columns, const int32_t* bias,
               const Dyadic& scale);

  int64_t panels() const { return divide_up(columns, layout.panel_columns); }
  const uint8_t* panel(int64_t index) const { return weight.get() + index * layout.panel_columns * padded_inner; }
  // The place of a column in the per-column arrays and in a row of accumulators of its panel.
  int64_t place(int64_t column) const {
    const int64_t first = column / layout.panel_columns * layout.panel_columns;
    return first + places[static_cast<size_t>(column - first)];
  }
  Dyadic scale() const { return {multiplier.get(), 1, shift.get(), 1}; }

  PanelLayout layout{};
  int64_t inner = 0;
  int64_t padded_inner = 0;
  int64_t columns = 0;
  bool narrow = false;
  // Whether any column needs its pre_shift.
  bool shifted = false;
  AlignedArray<uint8_t> weight;
  AlignedArray<int32_t> bias;
  AlignedArray<int32_t> multiplier;
  AlignedArray<int32_t> multiplier_odd;  // see LaneScales
  AlignedArray<int8_t> shift;
  AlignedArray<int32_t> pre_shift;
  AlignedArray<int32_t> rounding;
  AlignedArray<int32_t> post_shift;
  std::vector<uint8_t> places;
};

struct MatmulKernel {
  PanelLayout layout;
  // Rows that the innermost kernel takes at a time; blocks of rows are best multiples of it.
  int64_t row_tile;
  // x is [rows, linear.inner] with `x_stride` elements a row; computes panels [first_panel, last_panel).
  void (*compute)(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
                  int64_t last_panel, const Epilogue& epilogue);
};

// Columns [first, last) of one panel of a row, in 64 bits, from accumulators in the panel's order to which the bias has
// not been added.
template <class Stage>
void store_scalar(const int32_t* accumulators, int64_t row, int64_t first, int64_t last, const PackedLinear& linear,
                  const Stage& stage) {
  const Dyadic scale = linear.scale();
  const int64_t panel_start = first / linear.layout.panel_columns * linear.layout.panel_columns;
  const int32_t* bias = bias_of_row(stage, row, panel_start, linear.bias.get() + panel_start);
  const auto& of_row = stage_of_row(stage, row);
  for (int64_t column = first; column < last; ++column) {
    const int64_t place = linear.place(column);
    // Sums wrap around, as the additions of the function bodies do.
    const int32_t sum = static_cast<int32_t>(static_cast<uint32_t>(accumulators[place - panel_start]) +
                                             static_cast<uint32_t>(bias[place - panel_start]));
    of_row.store(row * stage.stride + column, scale.scale(sum, place));
  }
}

// The same for any stage.
inline void store_scalar(const int32_t* accumulators, int64_t row, int64_t first, int64_t last,
                         const PackedLinear& linear, const Epilogue& epilogue) {
  std::visit([&](const auto& stage) { store_scalar(accumulators, row, first, last, linear, stage); }, epilogue);
}

// The whole product, split over threads.
void matmul(const Parallel& parallel, const int8_t* x, int64_t rows, const PackedLinear& linear,
            const Epilogue& epilogue);

}  // namespace ivit::cpu
