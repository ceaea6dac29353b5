// The affine map of a normalisation, on the device.
#pragma once

#include <vector>

#include "kernels/cuda/int_layer_norm.h"
#include "ort/operator.h"

namespace ivit::ort {

class DeviceAffine {
 public:
  DeviceAffine(const Call& constants, const AffineInputs& inputs)
      : multiplier_(values<int32_t>(constants, inputs.multiplier)),
        offset_(values<int64_t>(constants, inputs.offset)),
        shift_(values<int8_t>(constants, inputs.shift)) {}

  // On the device.
  cuda::Affine get() const { return {multiplier_.get(), offset_.get(), shift_.get()}; }

 private:
  template <class T>
  static cuda::DeviceArray<T> values(const Call& constants, size_t input) {
    const T* const data = constants.data<T>(input);
    return cuda::DeviceArray<T>(std::vector<T>(data, data + constants.input_dim(input, 0)));
  }

  cuda::DeviceArray<int32_t> multiplier_;
  cuda::DeviceArray<int64_t> offset_;
  cuda::DeviceArray<int8_t> shift_;
};

}  // namespace ivit::ort
