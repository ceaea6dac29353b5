// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one pass.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct Linear {
  const PackedWeight& weight;
  const int32_t* bias;
  Dyadic scale;
};

// The residual stream that a branch is added to, and the scales of both.
struct Residual {
  const int16_t* values;
  Dyadic branch_scale;
  Dyadic residual_scale;
};

// Out is int8_t, int16_t or int32_t.
template <class Out>
void int_linear(const Parallel& parallel, const int8_t* x, int64_t rows, const Linear& linear, Out* y);

void int_linear_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Linear& linear,
                    const Residual& residual, int16_t* y);

}  // namespace ivit::cpu
