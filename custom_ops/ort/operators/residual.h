// The residual connection of an operator, and the normalisation after it where there is one.
#pragma once

#include <type_traits>

#include "kernels/cpu/int_linear.h"
#include "ort/operators/affine.h"

namespace ivit::ort {

// Whether the operator normalises what it adds.
template <class Op, class = void>
constexpr bool kHasNorm = false;
template <class Op>
constexpr bool kHasNorm<Op, std::void_t<decltype(Op::kNormAffine)>> = true;

template <class Op>
cpu::Residual bind_residual(const Call& call) {
  return {call.data<int16_t>(Op::kResidual), call.dyadic(Op::kBranchScale), call.dyadic(Op::kResidualScale)};
}

template <class Op>
cpu::Norm bind_norm(const Call& call) {
  if constexpr (kHasNorm<Op>) {
    return {bind_affine(call, Op::kNormAffine), call.output<int8_t>(1)};
  } else {
    return {};
  }
}

}  // namespace ivit::ort
