// Shiftmax and TableSoftmax: integer softmax over the last axis.
#pragma once

#include <cstdint>

#include "kernels/common/softmax.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// A softmax, its exponentials on the device too.
class DeviceSoftmax {
 public:
  explicit DeviceSoftmax(const Softmax& softmax);
  const Softmax& host() const { return host_; }
  const int32_t* exponentials() const { return exponentials_.get(); }

 private:
  Softmax host_;
  DeviceArray<int32_t> exponentials_;
};

// x and y are [rows, count]. Fastest where 4 divides `count`.
void softmax_rows(const int8_t* x, int64_t rows, int64_t count, const DeviceSoftmax& softmax, int16_t* y,
                  Stream stream);

}  // namespace ivit::cuda
