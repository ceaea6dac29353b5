// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm: matrix product and all that follows in one pass.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// The residual stream that a branch is added to, and the scales of both.
struct Residual {
  const int16_t* values;
  Dyadic branch_scale;
  Dyadic residual_scale;
};

template <class Out>
Saturate<Out> requantize_to(Out* y, const PackedLinear& linear) {
  return {y, linear.columns};
}

AddResidual add_residual_to(int16_t* y, const PackedLinear& linear, const Residual& residual);

// The normalisation of the residual stream right after a residual connection; `y` is null if there is none.
struct Norm {
  Affine affine;
  int8_t* y;
};

// IntLinearAddNorm: rows are normalised while they are still in the cache of the thread that made them.
void int_linear_add_norm(const Parallel& parallel, const int8_t* x, int64_t rows, const PackedLinear& linear,
                         const Residual& residual, int16_t* y, const Norm& norm);

}  // namespace ivit::cpu
