// Constants of an attention, on the device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/softmax.h"
#include "ort/cuda/scale.h"
#include "ort/operator.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {

template <class Op>
class AttentionConstants {
 public:
  explicit AttentionConstants(const Call& constants)
      : heads_(constants.attributes[Op::kHeads]),
        score_multiplier_(*constants.data<int32_t>(Op::kScoreMultiplier)),
        score_shift_(*constants.data<int8_t>(Op::kScoreShift)),
        context_(constants, Op::kContextScale, constants.dims['C']),
        softmax_(bind_softmax<Op>(constants)) {
    const Dyadic context = constants.dyadic(Op::kContextScale);
    const int64_t shifts = context.shift_stride == 0 ? 1 : constants.dims['C'];
    least_context_shift_ = *std::min_element(context.shift, context.shift + shifts);
  }

  cuda::AttentionParameters get(int64_t channels) const {
    return {heads_,         channels / heads_,    score_multiplier_,       score_shift_,
            context_.get(), least_context_shift_, softmax_.exponentials(), softmax_.host()};
  }

 private:
  int64_t heads_;
  int32_t score_multiplier_;
  int32_t score_shift_;
  int32_t least_context_shift_;
  DeviceScale context_;
  cuda::DeviceSoftmax softmax_;
};

}  // namespace ivit::ort
