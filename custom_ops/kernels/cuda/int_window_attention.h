// IntWindowAttention: multi-head self-attention inside windows of a grid of tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/window_grid.h"
#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// What windows need beside the common parameters. Pointers are of the device.
struct WindowParameters {
  WindowGrid grid;
  const int8_t* padding;  // [3, heads, head_dim], for every place without a token
  const int16_t* bias;    // of window_bias()
  int32_t biased_multiplier;
  int32_t biased_shift;
};

// Throws std::runtime_error for windows of more places than a block's shared memory has room for.
void check_window(const WindowGrid& grid, int64_t head_dim);

// The relative position bias of every query and key of a window, for the kernel's lanes: [heads, groups of 16 queries,
// steps of 32 keys, halves of a step, lanes, rows of a lane, 4], the last ones in the order of element_key. Padded with
// zeros. `relative_position` is [(2 * window - 1)^2, heads].
std::vector<int16_t> window_bias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position);

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                          const WindowParameters& windows, int8_t* y, Stream stream);

}  // namespace ivit::cuda
