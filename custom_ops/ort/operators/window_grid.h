// The windows of a call.
#pragma once

#include "kernels/common/window_grid.h"
#include "ort/operator.h"

namespace ivit::ort {

template <class Op>
WindowGrid window_grid(const Call& call) {
  const Attributes& attributes = call.attributes;
  return {attributes[Op::kHeight], attributes[Op::kWidth], attributes[Op::kWindow], attributes[Op::kShift]};
}

}  // namespace ivit::ort
