// IntTokenMean, IntTokenMean16: average pooling over tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// Sums of this many tokens of 16 bits fit int32.
constexpr int64_t kMaxMeanTokens = 65535;

// x [images, tokens, channels] to y [images, channels]; 1 <= tokens <= kMaxMeanTokens. T is int8_t or int16_t.
template <class T>
void int_token_mean(const Parallel& parallel, const T* x, int64_t images, int64_t tokens, int64_t channels,
                    const Dyadic& scale, T* y);

}  // namespace ivit::cpu
