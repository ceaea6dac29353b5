// Shiftmax: integer softmax over the last axis.
#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// The shift exponentials of the differences 0 to -255 on the device, by absolute value.
class ExpTable {
 public:
  ExpTable(int64_t x0, int64_t n);
  const int32_t* table() const { return table_.get(); }

 private:
  DeviceArray<int32_t> table_;
};

// x and y are [rows, count]; probabilities have `frac_bits` fractional bits. Fastest where 4 divides `count`.
void shiftmax(const int8_t* x, int64_t rows, int64_t count, const ExpTable& exponential, int frac_bits, int16_t* y,
              Stream stream);

}  // namespace ivit::cuda
