// IntDeferredAttention: IntAttention that divides by the sum of exponentials at its end.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/device_deferred.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim]. Throws std::runtime_error for more
// tokens than a block's shared memory has room for: 32 bytes for each, beside the tiles.
void int_deferred_attention(const int8_t* qkv, int64_t images, int64_t tokens, const AttentionParameters& parameters,
                            const DeviceDeferred& softmax, int8_t* y, Stream stream);

}  // namespace ivit::cuda
