// IntWindowAttention: multi-head self-attention inside windows of a grid of tokens.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/window_parameters.h"

namespace ivit::cuda {

// The scale of scores that get a bias.
struct BiasedScale {
  int32_t multiplier;
  int32_t shift;
};

// Throws std::runtime_error for windows of more places than a block's shared memory has room for.
void check_window(const WindowGrid& grid, int64_t head_dim);

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                          const SoftmaxParameters& softmax, const BiasedScale& biased, const WindowParameters& windows,
                          int8_t* y, Stream stream);

}  // namespace ivit::cuda
