// Bytes through tables of 256 bytes: one for all, or one for each row.
#include <algorithm>

#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu::generic {

void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

void look_up_rows(int8_t* x, int64_t rows, int64_t channels, const RowTables& tables, uint8_t* chosen) {
  for (int64_t row = 0; row < rows; ++row) {
    int8_t* values = x + row * channels;
    int8_t largest = INT8_MIN;
    for (int64_t c = 0; c < channels; ++c) largest = std::max(largest, values[c]);
    chosen[row] = tables.numbers[static_cast<uint8_t>(largest)];
    look_up(reinterpret_cast<const uint8_t*>(values), channels, tables.table(chosen[row]), values);
  }
}

}  // namespace ivit::cpu::generic
