// IntTokenMean, IntTokenMean16: average pooling over tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// x [images, tokens, channels] to y [images, channels], the scale on the device; 1 <= tokens <= 65535. Defined for
// int8_t and int16_t. Fastest for channels that are a multiple of 4.
template <class T>
void int_token_mean(const T* x, int64_t images, int64_t tokens, int64_t channels, const Dyadic& scale, T* y,
                    Stream stream);

}  // namespace ivit::cuda
