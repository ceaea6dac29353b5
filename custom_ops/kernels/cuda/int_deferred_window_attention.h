// IntDeferredWindowAttention: IntWindowAttention that divides by the sum of exponentials at its end.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/device_deferred.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/window_parameters.h"

namespace ivit::cuda {

// Throws std::runtime_error for windows of more places than a block's shared memory has room for.
void check_deferred_window(const WindowGrid& grid, int64_t head_dim);

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_deferred_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                                   const DeviceDeferred& softmax, const WindowParameters& windows, int8_t* y,
                                   Stream stream);

}  // namespace ivit::cuda
