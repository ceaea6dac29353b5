// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one pass.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// The residual stream that a branch is added to, and the scales of both.
struct Residual {
  const int16_t* values;
  Dyadic branch_scale;
  Dyadic residual_scale;
};

Epilogue requantize_to(int8_t* y, const PackedLinear& linear);
Epilogue requantize_to(int16_t* y, const PackedLinear& linear);
Epilogue requantize_to(int32_t* y, const PackedLinear& linear);
Epilogue add_residual_to(int16_t* y, const PackedLinear& linear, const Residual& residual);

}  // namespace ivit::cpu
