// IntAttention: multi-head self-attention on packed queries, keys and values.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim]. Throws std::runtime_error for more
// tokens than a block's shared memory has room for: 16 bytes for each, beside the tiles.
void int_attention(const int8_t* qkv, int64_t images, int64_t tokens, const AttentionParameters& parameters,
                   const SoftmaxParameters& softmax, int8_t* y, Stream stream);

}  // namespace ivit::cuda
