// ShiftGELU and the requantisation after it as one table.
#include "kernels/cpu/gelu_table.h"

#include <algorithm>

#include "kernels/common/shift_gelu.h"

namespace ivit::cpu {

GeluTable::GeluTable(const ShiftExpTable& exponential, const Dyadic& scale) : values_(256 * 256) {
  std::fill_n(values_.get(), 256 * 256, int8_t{0});
  for (int row_max = INT8_MIN; row_max <= INT8_MAX; ++row_max) {
    const auto number = static_cast<uint8_t>(row_max);
    numbers_[number] = number;
    int8_t* results = values_.get() + 256 * number;
    int16_t gelu[256];
    shift_gelu_values(static_cast<int8_t>(row_max), exponential, gelu);
    for (int value = INT8_MIN; value <= row_max; ++value) {
      results[static_cast<uint8_t>(value)] = saturate<int8_t>(scale.scale(gelu[value - INT8_MIN], 0));
    }
  }
}

}  // namespace ivit::cpu
