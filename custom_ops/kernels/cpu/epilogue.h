// What becomes of the accumulators of a matrix product once its own scales have requantised them: one of these stages.
//
// Each has `y` and the arrays it reads at row 0 and column 0, `stride` elements a row; store(at, value) finishes a
// value, not yet saturated, for the element `at`.
#pragma once

#include <cstdint>
#include <variant>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/add_requantize.h"
#include "kernels/cpu/narrow_scale.h"

namespace ivit::cpu {

// The value is the result.
template <class Out>
struct Saturate {
  using Output = Out;

  Saturate from_row(int64_t row) const { return {y + row * stride, stride}; }
  void store(int64_t at, int64_t value) const { y[at] = saturate<Out>(value); }

  Out* y;
  int64_t stride;
};

// To int16, then AddRequantize with `residual`.
struct AddResidual {
  using Output = int16_t;

  AddResidual from_row(int64_t row) const {
    return {y + row * stride, stride, branch, residual + row * stride, residual_scale};
  }
  void store(int64_t at, int64_t value) const { store(at, value, branch); }
  void store(int64_t at, int64_t value, const NarrowScale& branch_scale) const {
    y[at] = add_requantize(saturate<int16_t>(value), branch_scale.wide, residual[at], residual_scale.wide, 0);
  }

  int16_t* y;
  int64_t stride;
  NarrowScale branch;
  const int16_t* residual;
  NarrowScale residual_scale;
};

// What rows have by the scale that each has chosen: its branch scale, and its bias in place of the layer's own.
struct RowScales {
  int64_t count;
  const NarrowScale* branch;
  // `bias_stride` elements a scale, in the order of the packed columns.
  const int32_t* bias;
  int64_t bias_stride;
};

// AddResidual by the scale of each row; `branch` is that of the first scale.
struct AddTokenResidual : AddResidual {
  struct Row {
    void store(int64_t at, int64_t value) const { stage.store(at, value, branch); }

    const AddResidual& stage;
    const NarrowScale& branch;
  };

  AddTokenResidual from_row(int64_t row) const { return {AddResidual::from_row(row), scales, chosen + row}; }
  const NarrowScale& branch_of_row(int64_t row) const { return scales.branch[chosen[row]]; }

  RowScales scales;
  const uint8_t* chosen;
};

// To int16, scaled by `branch`, `position` added.
struct AddPosition {
  using Output = int16_t;

  AddPosition from_row(int64_t row) const { return {y + row * stride, stride, branch, position + row * stride}; }
  void store(int64_t at, int64_t value) const {
    y[at] = saturate<int16_t>(branch.wide.scale(saturate<int16_t>(value), 0) + position[at]);
  }

  int16_t* y;
  int64_t stride;
  NarrowScale branch;
  const int32_t* position;
};

using Epilogue =
    std::variant<Saturate<int8_t>, Saturate<int16_t>, Saturate<int32_t>, AddResidual, AddTokenResidual, AddPosition>;

// The stage as it is in one row.
template <class Stage>
const Stage& stage_of_row(const Stage& stage, int64_t) {
  return stage;
}
inline AddTokenResidual::Row stage_of_row(const AddTokenResidual& stage, int64_t row) {
  return {stage, stage.branch_of_row(row)};
}

// The bias of packed columns from `column` on in one row; that of the layer is `layer_bias`.
template <class Stage>
const int32_t* bias_of_row(const Stage&, int64_t, int64_t, const int32_t* layer_bias) {
  return layer_bias;
}
inline const int32_t* bias_of_row(const AddTokenResidual& stage, int64_t row, int64_t column, const int32_t*) {
  return stage.scales.bias + stage.chosen[row] * stage.scales.bias_stride + column;
}

inline Epilogue from_row(const Epilogue& epilogue, int64_t row) {
  return std::visit([row](const auto& stage) -> Epilogue { return stage.from_row(row); }, epilogue);
}

}  // namespace ivit::cpu
