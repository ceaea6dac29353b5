// ShiftGELU: x * sigmoid(1.702 x) by shifts, relative to the row maximum.
#include "kernels/cpu/shift_gelu.h"

#include <algorithm>

namespace ivit::cpu {

void shift_gelu_row(const int8_t* x, int64_t channels, const ShiftExpTable& exponential, int16_t* y) {
  // The sigmoid depends on x and the row maximum alone: 256 values serve the whole row.
  int16_t values[256];
  shift_gelu_values(*std::max_element(x, x + channels), exponential, values);
  for (int64_t c = 0; c < channels; ++c) y[c] = values[x[c] - INT8_MIN];
}

void shift_gelu(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t channels,
                const ShiftExpTable& exponential, int16_t* y) {
  for_row_ranges(parallel, rows, channels, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      shift_gelu_row(x + row * channels, channels, exponential, y + row * channels);
    }
  });
}

}  // namespace ivit::cpu
