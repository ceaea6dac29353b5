// TableGELU: bytes through a table.
#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// The table of an operator, in the order of the values -128..127, on the device in the order of their bits.
class GeluTable {
 public:
  explicit GeluTable(const int8_t* table);
  const uint8_t* get() const { return table_.get(); }

 private:
  DeviceArray<uint8_t> table_;
};

// `count` values; in place is fine. Fastest where x and y are aligned to 16.
void table_gelu(const int8_t* x, int64_t count, const GeluTable& table, int8_t* y, Stream stream);

}  // namespace ivit::cuda
