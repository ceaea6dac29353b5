// Parameters of an attention.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/softmax.h"

namespace ivit::cuda {

// What all attentions have in common. Pointers are of the device.
struct AttentionParameters {
  int64_t heads;
  int64_t head_dim;
  Dyadic context;
  int32_t least_context_shift;
};

// How IntAttention and IntWindowAttention come from products to probabilities.
struct SoftmaxParameters {
  int32_t score_multiplier;
  int32_t score_shift;
  const int32_t* exponentials;  // those of `softmax`, of the device
  const Softmax& softmax;       // of the host
};

}  // namespace ivit::cuda
