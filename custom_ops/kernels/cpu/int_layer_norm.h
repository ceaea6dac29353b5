// IntLayerNorm, IntLayerNorm16: layer normalisation with an integer Newton square root.
#pragma once

#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// (z * multiplier + offset) >> shift for the normalised value z, one triple per channel.
struct Affine {
  const int32_t* multiplier;
  const int64_t* offset;
  const int8_t* shift;
};

void int_layer_norm(const Parallel& parallel, const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                    int8_t* y);

// The same, clamped to int16.
void int_layer_norm16(const Parallel& parallel, const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                      int16_t* y);

}  // namespace ivit::cpu
