// Bytes through tables of 256 bytes: elementwise functions, and ShiftGELU row by row.
#include <algorithm>

#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu::generic {

void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

void gelu_rows(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table) {
  for (int64_t row = 0; row < rows; ++row) {
    int8_t* values = x + row * channels;
    const int8_t* results = table.row(*std::max_element(values, values + channels));
    look_up(reinterpret_cast<const uint8_t*>(values), channels, results, values);
  }
}

}  // namespace ivit::cpu::generic
