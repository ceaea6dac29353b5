#include "kernels/common/integer.h"
#include "kernels/cuda/int_token_max.h"

namespace ivit::cuda {
namespace {

constexpr int kThreads = 256;

// `blocks` blocks for each image, a channel for each thread.
__global__ void __launch_bounds__(kThreads)
    max_of_tokens(const int8_t* x, int64_t tokens, int64_t channels, unsigned blocks, Dyadic scale, int8_t* y) {
  const int64_t image = blockIdx.x / blocks;
  const int64_t channel = int64_t{blockIdx.x % blocks} * kThreads + threadIdx.x;
  if (channel >= channels) return;
  const int8_t* const source = x + image * tokens * channels + channel;
  int32_t largest = *source;
  for (int64_t token = 1; token < tokens; ++token) {
    const int32_t value = source[token * channels];
    if (value > largest) largest = value;
  }
  y[image * channels + channel] = saturate<int8_t>(scale.scale(largest, channel));
}

}  // namespace

void int_token_max(const int8_t* x, int64_t images, int64_t tokens, int64_t channels, const Dyadic& scale, int8_t* y,
                   Stream stream) {
  const int64_t blocks = divide_up(channels, kThreads);
  launch(max_of_tokens, {dim3(static_cast<unsigned>(images * blocks)), kThreads, 0, stream}, x, tokens, channels,
         static_cast<unsigned>(blocks), scale, y);
}

}  // namespace ivit::cuda
