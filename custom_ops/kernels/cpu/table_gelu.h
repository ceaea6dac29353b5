// TableGELU: bytes through a table.
#pragma once

#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// A table as operators have it, in the order of the values -128..127, in the order of their bits: the result of a value
// stands at static_cast<uint8_t>(value).
class ByBits {
 public:
  ByBits() = default;
  explicit ByBits(const int8_t* table) {
    for (int i = 0; i < 256; ++i) values_[i] = table[static_cast<uint8_t>(i + 128)];
  }
  const int8_t* get() const { return values_; }

 private:
  int8_t values_[256];
};

// x and y are [rows, channels].
void table_gelu(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t channels, const ByBits& table,
                int8_t* y);

}  // namespace ivit::cpu
