// IntTokenMax: maximum pooling over tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// x [images, tokens, channels] to y [images, channels]; at least one token.
void int_token_max(const Parallel& parallel, const int8_t* x, int64_t images, int64_t tokens, int64_t channels,
                   const Dyadic& scale, int8_t* y);

}  // namespace ivit::cpu
