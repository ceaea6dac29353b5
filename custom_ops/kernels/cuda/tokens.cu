#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/tokens.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

constexpr int kVector = 8;

__global__ void copy_prefix(const int16_t* prefix, int64_t size, int64_t images, int64_t stride, int16_t* y) {
  for (int64_t i = first_element(); i < images * size; i += element_stride()) {
    const int64_t image = i / size;
    y[image * stride + (i - image * size)] = prefix[i - image * size];
  }
}

__device__ int32_t scaled(int32_t x, const TokenScale& scale) {
  return saturate<int16_t>(scale_round(x, scale.multiplier, scale.shift));
}

__device__ uint32_t scaled_pair(uint32_t pair, const TokenScale& scale) {
  return pack_int16(scaled(low_half(pair), scale), scaled(high_half(pair), scale));
}

// Whole vectors from the front, which is aligned, single values behind them.
__global__ void scale_values(int16_t* y, int64_t count, const TokenScale scale) {
  const int64_t vectors = count / kVector;
  uint4* const vector = reinterpret_cast<uint4*>(y);
  for (int64_t i = first_element(); i < vectors; i += element_stride()) {
    const uint4 v = vector[i];
    vector[i] = {scaled_pair(v.x, scale), scaled_pair(v.y, scale), scaled_pair(v.z, scale), scaled_pair(v.w, scale)};
  }
  for (int64_t i = vectors * kVector + first_element(); i < count; i += element_stride()) {
    y[i] = static_cast<int16_t>(scaled(y[i], scale));
  }
}

}  // namespace

void place_prefix(const int16_t* prefix, int64_t count, int64_t images, int64_t tokens, int64_t channels, int16_t* y,
                  Stream stream) {
  const int64_t size = count * channels;
  if (size == 0 || images == 0) return;
  launch(copy_prefix, elementwise_launch(images * size, stream), prefix, size, images, tokens * channels, y);
}

void scale_tokens(int16_t* y, int64_t count, const TokenScale& scale, Stream stream) {
  if (count == 0) return;
  launch(scale_values, elementwise_launch(divide_up(count, kVector), stream), y, count, scale);
}

}  // namespace ivit::cuda
