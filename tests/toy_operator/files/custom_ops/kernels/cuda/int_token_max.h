// IntTokenMax: maximum pooling over tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// x [images, tokens, channels] to y [images, channels], the scale on the device; at least one token.
void int_token_max(const int8_t* x, int64_t images, int64_t tokens, int64_t channels, const Dyadic& scale, int8_t* y,
                   Stream stream);

}  // namespace ivit::cuda
