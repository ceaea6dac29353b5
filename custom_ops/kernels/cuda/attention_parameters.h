// Parameters of an attention.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/dyadic.h"

namespace ivit::cuda {

// The exponentials that both kernels take: those of the distances 0..255 of a score from its row's maximum.
std::vector<int32_t> exponentials_by_distance(int64_t x0, int64_t n);

// What IntAttention and IntWindowAttention have in common. Pointers are of the device.
struct AttentionParameters {
  int64_t heads;
  int64_t head_dim;
  int32_t score_multiplier;
  int32_t score_shift;
  Dyadic context;
  int32_t least_context_shift;
  const int32_t* exponentials;  // of exponentials_by_distance()
  int64_t x0;
  int64_t n;
  int frac_bits;
};

}  // namespace ivit::cuda
