// IntTokenMax: maximum pooling over tokens.
#include "kernels/cpu/int_token_max.h"

#include <algorithm>

namespace ivit::cpu {

void int_token_max(const Parallel& parallel, const int8_t* x, int64_t images, int64_t tokens, int64_t channels,
                   const Dyadic& scale, int8_t* y) {
  parallel.run(images, [&](int64_t image) {
    const int8_t* row = x + image * tokens * channels;
    int8_t* const largest = y + image * channels;
    std::copy_n(row, channels, largest);
    for (int64_t token = 1; token < tokens; ++token) {
      row += channels;
      for (int64_t c = 0; c < channels; ++c) largest[c] = std::max(largest[c], row[c]);
    }
    for (int64_t c = 0; c < channels; ++c) largest[c] = saturate<int8_t>(scale.scale(largest[c], c));
  });
}

}  // namespace ivit::cpu
