// Constants of an attention, on the device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "ort/cuda/scale.h"
#include "ort/operator.h"

namespace ivit::ort {

// Those that all attentions have.
template <class Op>
class AttentionConstants {
 public:
  explicit AttentionConstants(const Call& constants)
      : heads_(constants.attributes[Op::kHeads]), context_(constants, Op::kContextScale, constants.dims['C']) {
    const Dyadic context = constants.dyadic(Op::kContextScale);
    const int64_t shifts = context.shift_stride == 0 ? 1 : constants.dims['C'];
    least_context_shift_ = *std::min_element(context.shift, context.shift + shifts);
  }

  cuda::AttentionParameters get(int64_t channels) const {
    return {heads_, channels / heads_, context_.get(), least_context_shift_};
  }

 private:
  int64_t heads_;
  int32_t least_context_shift_;
  DeviceScale context_;
};

}  // namespace ivit::ort
