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
  void store(int64_t at, int64_t value) const {
    y[at] = add_requantize(saturate<int16_t>(value), branch.wide, residual[at], residual_scale.wide, 0);
  }

  int16_t* y;
  int64_t stride;
  NarrowScale branch;
  const int16_t* residual;
  NarrowScale residual_scale;
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

using Epilogue = std::variant<Saturate<int8_t>, Saturate<int16_t>, Saturate<int32_t>, AddResidual, AddPosition>;

inline Epilogue from_row(const Epilogue& epilogue, int64_t row) {
  return std::visit([row](const auto& stage) -> Epilogue { return stage.from_row(row); }, epilogue);
}

}  // namespace ivit::cpu
