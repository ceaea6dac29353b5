// Constants of the softmax of IntAttention and IntWindowAttention, on the device.
#pragma once

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/softmax.h"
#include "ort/operator.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {

template <class Op>
class SoftmaxConstants {
 public:
  explicit SoftmaxConstants(const Call& constants)
      : score_multiplier_(*constants.data<int32_t>(Op::kScoreMultiplier)),
        score_shift_(*constants.data<int8_t>(Op::kScoreShift)),
        softmax_(bind_softmax<Op>(constants)) {}

  cuda::SoftmaxParameters get() const {
    return {score_multiplier_, score_shift_, softmax_.exponentials(), softmax_.host()};
  }

 private:
  int32_t score_multiplier_;
  int32_t score_shift_;
  cuda::DeviceSoftmax softmax_;
};

}  // namespace ivit::ort
