// IntLayerNorm, IntLayerNorm16: layer normalisation with an integer Newton square root.
#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// (z * multiplier + offset) >> shift for the normalised value z, one triple per channel. Pointers of the device.
struct Affine {
  const int32_t* multiplier;
  const int64_t* offset;
  const int8_t* shift;
};

// x and y are [rows, channels]. Fastest for channels that are a multiple of 4 and at most 2048, with x and y aligned
// to four values and the parameters to 16 bytes.
void int_layer_norm(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y, Stream stream);

// The same, clamped to int16; y may be x.
void int_layer_norm16(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y,
                      Stream stream);

}  // namespace ivit::cuda
