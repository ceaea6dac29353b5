// Parameters of an attention.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/softmax.h"

namespace ivit::cuda {

// What IntAttention and IntWindowAttention have in common. Pointers are of the device.
struct AttentionParameters {
  int64_t heads;
  int64_t head_dim;
  int32_t score_multiplier;
  int32_t score_shift;
  Dyadic context;
  int32_t least_context_shift;
  const int32_t* exponentials;  // those of `softmax`
  const Softmax& softmax;       // of the host
};

}  // namespace ivit::cuda
