// ShiftGELU and the requantisation after it as one table: for fixed attributes the result depends on the value and on
// the row maximum alone, 256 x 256 bytes.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/shift_exp.h"
#include "kernels/cpu/aligned.h"

namespace ivit::cpu {

class GeluTable {
 public:
  // `scale` is one number for all channels.
  GeluTable(const ShiftExpTable& exponential, const Dyadic& scale);

  // The 256 results for rows with this maximum; the result of a value stands at static_cast<uint8_t>(value). Results
  // of values above the maximum are unspecified.
  const int8_t* row(int8_t row_max) const { return values_.get() + 256 * static_cast<uint8_t>(row_max); }

 private:
  AlignedArray<int8_t> values_;
};

}  // namespace ivit::cpu
