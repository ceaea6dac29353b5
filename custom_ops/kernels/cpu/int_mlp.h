// IntMlpAdd and IntMlpAddNorm: the feed-forward half of a transformer block with its residual connection, and the
// normalisation after it.
#pragma once

#include <cstdint>

#include "kernels/common/shift_exp.h"
#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct Mlp {
  const PackedLinear& fc1;
  const ShiftExpTable& exponential;
  // Null if the scale after ShiftGELU differs from channel to channel.
  const GeluTable* gelu_table;
  Dyadic gelu_scale;
  const PackedLinear& fc2;
};

void int_mlp_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Mlp& mlp, const Residual& residual,
                 int16_t* y, const Norm& norm);

}  // namespace ivit::cpu
