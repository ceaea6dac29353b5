// IntWindowAttention: multi-head self-attention inside windows of a grid of tokens.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/common/shift_exp.h"
#include "kernels/common/window_grid.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// From scores to placed scores: the scale of placed scores, and the bias of every pair of tokens.
class PlacedScores {
 public:
  PlacedScores() = default;
  // `relative_position` is [(2 * window - 1)^2, heads].
  PlacedScores(const WindowGrid& grid, int64_t heads, const int16_t* relative_position, const Dyadic& scale);

  // What a score becomes before the bias is added. Beyond 17 bits, no bias can bring it back into 8 bits.
  int32_t scaled(int8_t score) const { return scaled_[score + 128]; }
  const int32_t* scaled() const { return scaled_; }
  // Whether every scaled score fits int16.
  bool narrow() const { return narrow_; }

  // The biases of one query for all keys; rows are `stride` apart, aligned, padded with zeros.
  const int16_t* bias(int64_t head, int64_t query) const { return bias_.get() + (head * area_ + query) * stride_; }
  int64_t stride() const { return stride_; }

 private:
  int64_t area_ = 0;
  int64_t stride_ = 0;
  bool narrow_ = false;
  int32_t scaled_[256];
  AlignedArray<int16_t> bias_;
};

struct WindowAttention {
  int64_t images;
  WindowGrid grid;
  int64_t heads;
  int64_t head_dim;
  const int8_t* padding;  // [3, heads, head_dim], for every place without a token
  Dyadic score_scale;
  const PlacedScores& placed;
  Dyadic context_scale;
  const ShiftExpTable& exponential;
  // The exponential of a masked score: -x0.
  int32_t masked;
  int frac_bits;
};

// One head of one window: qkv is [places, 3, head_dim], y [places, head_dim]; `regions` has the region of each place,
// or is null if they are all the same. `head` selects bias and scale.
using WindowAttentionKernel = void (*)(const int8_t* qkv, const WindowAttention& attention, int64_t head,
                                       const uint8_t* regions, int8_t* y);

// The portable WindowAttentionKernel.
void attend_window_portable(const int8_t* qkv, const WindowAttention& attention, int64_t head, const uint8_t* regions,
                            int8_t* y);

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_window_attention(const Parallel& parallel, const int8_t* qkv, const WindowAttention& attention, int8_t* y);

}  // namespace ivit::cpu
