// ShiftGELU and the requantisation after it as one table: for fixed attributes the result depends on the value and on
// the row maximum alone, 256 x 256 bytes.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/shift_exp.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/row_tables.h"

namespace ivit::cpu {

class GeluTable {
 public:
  // `scale` is one number for all channels.
  GeluTable(const ShiftExpTable& exponential, const Dyadic& scale);

  // A table for each maximum; results of values above the maximum are unspecified.
  RowTables tables() const { return {numbers_, values_.get()}; }

 private:
  uint8_t numbers_[256];
  AlignedArray<int8_t> values_;
};

}  // namespace ivit::cpu
