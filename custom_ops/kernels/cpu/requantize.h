// Requantize, Requantize16, Requantize32: an int32 tensor to another scale and width.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// One row of consecutive channels, `scale` counted from its first; in place is fine when In and Out are equally wide.
template <class Out, class In>
void requantize_row(const In* x, int64_t count, const Dyadic& scale, Out* y) {
  for (int64_t c = 0; c < count; ++c) y[c] = saturate<Out>(scale.scale(x[c], c));
}

template <class Out>
void requantize(const Parallel& parallel, const int32_t* x, int64_t rows, int64_t channels, const Dyadic& scale,
                Out* y) {
  for_row_ranges(parallel, rows, channels, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      requantize_row(x + row * channels, channels, scale, y + row * channels);
    }
  });
}

}  // namespace ivit::cpu
