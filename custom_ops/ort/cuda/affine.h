// The affine map of a normalisation, on the device.
#pragma once

#include <vector>

#include "kernels/cuda/int_layer_norm.h"
#include "ort/operator.h"

namespace ivit::ort {

class DeviceAffine {
 public:
  // `multiplier` is the index of the multiplier; offset and shift are the inputs after it. All have `channels` values.
  DeviceAffine(const Call& constants, size_t multiplier, int64_t channels)
      : multiplier_(values(constants.data<int32_t>(multiplier), channels)),
        offset_(values(constants.data<int64_t>(multiplier + 1), channels)),
        shift_(values(constants.data<int8_t>(multiplier + 2), channels)) {}

  // On the device.
  cuda::Affine get() const { return {multiplier_.get(), offset_.get(), shift_.get()}; }

 private:
  template <class T>
  static cuda::DeviceArray<T> values(const T* data, int64_t channels) {
    return cuda::DeviceArray<T>(std::vector<T>(data, data + channels));
  }

  cuda::DeviceArray<int32_t> multiplier_;
  cuda::DeviceArray<int64_t> offset_;
  cuda::DeviceArray<int8_t> shift_;
};

}  // namespace ivit::ort
