// Dyadic numbers of a call, on the device.
#pragma once

#include <vector>

#include "kernels/cuda/runtime.h"
#include "ort/operator.h"

namespace ivit::ort {

class DeviceScale {
 public:
  // Multipliers and shifts have `channels` values, or one.
  DeviceScale(const Call& constants, const ScaleInputs& inputs, int64_t channels)
      : host_(constants.dyadic(inputs)),
        multiplier_(values(host_.multiplier, host_.multiplier_stride, channels)),
        shift_(values(host_.shift, host_.shift_stride, channels)) {}

  // On the device.
  Dyadic get() const { return {multiplier_.get(), host_.multiplier_stride, shift_.get(), host_.shift_stride}; }

 private:
  template <class T>
  static cuda::DeviceArray<T> values(const T* data, int64_t stride, int64_t channels) {
    return cuda::DeviceArray<T>(std::vector<T>(data, data + (stride == 0 ? 1 : channels)));
  }

  Dyadic host_;
  cuda::DeviceArray<int32_t> multiplier_;
  cuda::DeviceArray<int8_t> shift_;
};

}  // namespace ivit::ort
