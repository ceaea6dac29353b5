// AddRequantize: the residual connection.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// Each side is rounded by itself, then added, then clamped.
inline int16_t add_requantize(int16_t a, const Dyadic& a_scale, int16_t b, const Dyadic& b_scale, int64_t channel) {
  return saturate<int16_t>(a_scale.scale(a, channel) + b_scale.scale(b, channel));
}

void add_requantize(const Parallel& parallel, const int16_t* a, const Dyadic& a_scale, const int16_t* b,
                    const Dyadic& b_scale, int64_t rows, int64_t channels, int16_t* y);

}  // namespace ivit::cpu
