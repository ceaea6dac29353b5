#include "kernels/common/integer.h"
#include "kernels/cuda/int_token_mean.h"
#include "kernels/cuda/newton_sqrt.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpLanes;

__device__ inline void add(const int8_t* x, int32_t (&sums)[4]) {
  const uint32_t word = *reinterpret_cast<const uint32_t*>(x);
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[i] += static_cast<int8_t>(byte_of(word, i));
}

__device__ inline void add(const int16_t* x, int32_t (&sums)[4]) {
  const uint2 words = *reinterpret_cast<const uint2*>(x);
  sums[0] += low_half(words.x);
  sums[1] += high_half(words.x);
  sums[2] += low_half(words.y);
  sums[3] += high_half(words.y);
}

template <class T>
__device__ inline void add(const T* x, int32_t (&sums)[1]) {
  sums[0] += *x;
}

// `blocks` blocks for each image, with kUnit channels for each lane; every warp sums up some of the tokens. Sums of
// 65535 tokens fit 32 bits. Shared memory: an int32 for each warp and channel.
template <int kUnit, class T>
__global__ void __launch_bounds__(kThreads)
    mean_of_tokens(const T* x, int64_t tokens, int64_t channels, unsigned blocks, Dyadic scale, T* y) {
  constexpr int kChannels = kUnit * kWarpLanes;
  const int64_t image = blockIdx.x / blocks;
  const int64_t first = int64_t{blockIdx.x % blocks} * kChannels;
  const int place = kUnit * lane_index();
  int32_t sums[kUnit] = {};
  if (first + place < channels) {
    const T* const source = x + image * tokens * channels + first + place;
#pragma unroll 4
    for (int64_t token = warp_index(); token < tokens; token += kWarps) add(source + token * channels, sums);
  }
  int32_t* const shared = shared_memory<int32_t>();
#pragma unroll
  for (int i = 0; i < kUnit; ++i) shared[kChannels * warp_index() + place + i] = sums[i];
  __syncthreads();
  const int64_t channel = first + threadIdx.x;
  if (threadIdx.x >= kChannels || channel >= channels) return;
  int32_t sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += shared[kChannels * warp + static_cast<int>(threadIdx.x)];
  y[image * channels + channel] = saturate<T>(scale.scale(mean_of(sum, static_cast<int32_t>(tokens)), channel));
}

}  // namespace

template <class T>
void int_token_mean(const T* x, int64_t images, int64_t tokens, int64_t channels, const Dyadic& scale, T* y,
                    Stream stream) {
  const bool units = channels % 4 == 0 && is_aligned(x, 4 * sizeof(T));
  const int width = (units ? 4 : 1) * kWarpLanes;
  const int64_t blocks = divide_up(channels, width);
  launch(units ? mean_of_tokens<4, T> : mean_of_tokens<1, T>,
         {dim3(static_cast<unsigned>(images * blocks)), kThreads, kWarps * width * sizeof(int32_t), stream}, x, tokens,
         channels, static_cast<unsigned>(blocks), scale, y);
}

template void int_token_mean(const int8_t*, int64_t, int64_t, int64_t, const Dyadic&, int8_t*, Stream);
template void int_token_mean(const int16_t*, int64_t, int64_t, int64_t, const Dyadic&, int16_t*, Stream);

}  // namespace ivit::cuda
