// What embeddings do with tokens besides the matrix product and the normalisation.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// Copies prefix [count, channels] to the head of each of the images of y [images, tokens, channels].
void place_prefix(const int16_t* prefix, int64_t count, int64_t images, int64_t tokens, int64_t channels, int16_t* y,
                  Stream stream);

// The factor of a dyadic number that is the same for all channels.
struct TokenScale {
  int32_t multiplier;
  int32_t shift;

  // Whether it changes nothing.
  bool is_one() const { return shift < 31 && multiplier == int32_t{1} << shift; }
};

// y [count] = (y * m + 2^(e-1)) >> e, saturated, in place.
void scale_tokens(int16_t* y, int64_t count, const TokenScale& scale, Stream stream);

}  // namespace ivit::cuda
