// IntTokenMean, IntTokenMean16: average pooling over tokens.
#include "kernels/cpu/int_token_mean.h"

#include <algorithm>

namespace ivit::cpu {
namespace {

// Channels that one task sums: whole cache lines, and sums that stay in the first-level cache.
constexpr int64_t kBlock = 128;

}  // namespace

template <class T>
void int_token_mean(const Parallel& parallel, const T* x, int64_t images, int64_t tokens, int64_t channels,
                    const Dyadic& scale, T* y) {
  const int64_t blocks = divide_up(channels, kBlock);
  parallel.run(images * blocks, [&](int64_t task) {
    const int64_t image = task / blocks;
    const int64_t first = task % blocks * kBlock;
    const int64_t count = std::min(kBlock, channels - first);
    int32_t sums[kBlock] = {};
    for (int64_t token = 0; token < tokens; ++token) {
      const T* row = x + (image * tokens + token) * channels + first;
      for (int64_t c = 0; c < count; ++c) sums[c] += row[c];
    }
    for (int64_t c = 0; c < count; ++c) {
      const int32_t mean = static_cast<int32_t>(round_half_even_divide(sums[c], tokens));
      y[image * channels + first + c] = saturate<T>(scale.scale(mean, first + c));
    }
  });
}

template void int_token_mean(const Parallel&, const int8_t*, int64_t, int64_t, int64_t, const Dyadic&, int8_t*);
template void int_token_mean(const Parallel&, const int16_t*, int64_t, int64_t, int64_t, const Dyadic&, int16_t*);

}  // namespace ivit::cpu
