// IntMlpAdd, IntTableMlpAdd, IntTokenMlpAdd: the feed-forward half of a transformer block with its residual connection,
// and with Norm the normalisation after it.
#pragma once

#include <cstdint>

#include "kernels/common/shift_exp.h"
#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_tables.h"

namespace ivit::cpu {

// From the result of the first layer to the input of the second, both int8; one of three.
struct MlpActivation {
  // TableGELU: the result of a value stands at static_cast<uint8_t>(value).
  const int8_t* table = nullptr;
  // A table for each row: TableGELU by the scale of a token, or ShiftGELU and the requantisation after it, with one
  // scale for all channels.
  RowTables row_tables{};
  // ShiftGELU with a scale for each channel.
  const ShiftExpTable* exponential = nullptr;
  Dyadic scale{};
};

struct Mlp {
  const PackedLinear& fc1;
  MlpActivation activation;
  const PackedLinear& fc2;
  // Those that row_tables have chosen from; null if all rows have the same.
  const RowScales* row_scales = nullptr;
};

void int_mlp_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Mlp& mlp, const Residual& residual,
                 int16_t* y, const Norm& norm);

}  // namespace ivit::cpu
