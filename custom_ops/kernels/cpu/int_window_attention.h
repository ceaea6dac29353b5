// IntWindowAttention, IntDeferredWindowAttention: multi-head self-attention inside windows of a grid of tokens.
#pragma once

#include <cstdint>

#include "kernels/common/deferred.h"
#include "kernels/common/dyadic.h"
#include "kernels/common/softmax.h"
#include "kernels/common/window_grid.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/relative_position_bias.h"

namespace ivit::cpu {

// From scores to biased scores: the scale of biased scores, and the bias of every pair of tokens.
class BiasedScores {
 public:
  BiasedScores() = default;
  // `relative_position` is [(2 * window - 1)^2, heads].
  BiasedScores(const WindowGrid& grid, int64_t heads, const int16_t* relative_position, const Dyadic& scale);

  // Turns the scores of one query for all keys into biased scores.
  void apply(int64_t head, int64_t query, int8_t* scores) const {
    const int16_t* biases = bias(head, query);
    for (int64_t key = 0; key < area_; ++key) {
      scores[key] = saturate<int8_t>(scaled_[static_cast<uint8_t>(scores[key])] + biases[key]);
    }
  }
  // What a score becomes before the bias is added, as bytes, 0 the lower and 1 the upper one, by the bits of the score;
  // right only if `narrow`.
  const uint8_t* scaled_bytes(int byte) const { return scaled_bytes_[byte]; }
  // Whether every scaled score fits int16.
  bool narrow() const { return narrow_; }

  // See RelativePositionBias::row.
  const int16_t* bias(int64_t head, int64_t query) const { return bias_.row(head, query); }

 private:
  int64_t area_ = 0;
  bool narrow_ = false;
  int32_t scaled_[256];  // beyond 17 bits, no bias can bring a score back into 8 bits
  uint8_t scaled_bytes_[2][256];
  RelativePositionBias bias_;
};

// A softmax, and its exponentials as bytes.
struct WindowSoftmax : Softmax {
  WindowSoftmax() = default;
  explicit WindowSoftmax(const Softmax& softmax);

  // Byte `b` of the exponential by distance.
  uint8_t bytes[4][kScoreDistances];
};

struct WindowAttention {
  int64_t images;
  WindowGrid grid;
  int64_t heads;
  int64_t head_dim;
  const int8_t* padding;  // [3, heads, head_dim], for every place without a token
  Dyadic score_scale;
  const BiasedScores& biased;
  Dyadic context_scale;
  const WindowSoftmax& softmax;
};

// The same with deferred normalisation: scores are 16 bits, and so is their bias.
struct DeferredWindowAttention {
  int64_t images;
  WindowGrid grid;
  int64_t heads;
  int64_t head_dim;
  const int8_t* padding;
  const RelativePositionBias& bias;
  Dyadic context_scale;
  DeferredSoftmax softmax;
};

// The places of one window, as many as the grid's area. Pointers are those of the first head.
struct Window {
  // The queries of each place; its keys and values follow, each heads * head_dim elements behind.
  const int8_t* const* qkv;
  // Where the context of each place goes; null for padding.
  int8_t* const* y;
  // The region of each place; null if they are all the same. Up to 64 bytes past the end may be read.
  const uint8_t* regions;
};

// One head of one window.
using WindowAttentionKernel = void(const Window& window, const WindowAttention& attention, int64_t head);
using DeferredWindowAttentionKernel = void(const Window& window, const DeferredWindowAttention& attention,
                                           int64_t head);

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_window_attention(const Parallel& parallel, const int8_t* qkv, const WindowAttention& attention, int8_t* y);
void int_window_attention(const Parallel& parallel, const int8_t* qkv, const DeferredWindowAttention& attention,
                          int8_t* y);

}  // namespace ivit::cpu
