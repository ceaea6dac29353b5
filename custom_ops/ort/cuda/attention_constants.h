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

// Indices of inputs and attributes that all attentions have; the shift of a multiplier is the input after it.
struct AttentionIndices {
  size_t score_multiplier;
  size_t context_multiplier;
  size_t heads;
};

class AttentionConstants {
 public:
  AttentionConstants(const Call& constants, const AttentionIndices& indices)
      : heads_(constants.attributes[indices.heads]),
        score_multiplier_(*constants.data<int32_t>(indices.score_multiplier)),
        score_shift_(*constants.data<int8_t>(indices.score_multiplier + 1)),
        context_(constants, indices.context_multiplier, constants.dims['C']),
        softmax_(bind_softmax(constants)) {
    const Dyadic context = constants.dyadic(indices.context_multiplier);
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
