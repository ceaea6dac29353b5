// IntTokenMean, IntTokenMean16: average pooling over tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// x [images, tokens, channels] to y [images, channels]. T is int8_t or int16_t; sums of a channel's tokens fit int32.
template <class T>
void int_token_mean(const Parallel& parallel, const T* x, int64_t images, int64_t tokens, int64_t channels,
                    const Dyadic& scale, T* y);

}  // namespace ivit::cpu
