// The tokens that attend to each other in one head: all of an image, or those of a window.
//
// Both kinds have `count` tokens of `head_dim` values; query(token), key(token) and value(token) point to them, and
// context(token) to where the result goes, null if it is not wanted.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_window_attention.h"

namespace ivit::cpu {

class ImageTokens {
 public:
  // `Kind` is Attention or DeferredAttention.
  template <class Kind>
  ImageTokens(const int8_t* qkv, const Kind& attention, int64_t head, int8_t* y)
      : count(attention.tokens),
        head_dim(attention.head_dim),
        channels_(attention.heads * head_dim),
        queries_(qkv + head * head_dim),
        contexts_(y + head * head_dim) {}

  const int8_t* query(int64_t token) const { return queries_ + token * 3 * channels_; }
  const int8_t* key(int64_t token) const { return query(token) + channels_; }
  const int8_t* value(int64_t token) const { return query(token) + 2 * channels_; }
  int8_t* context(int64_t token) const { return contexts_ + token * channels_; }

  const int64_t count;
  const int64_t head_dim;

 private:
  const int64_t channels_;
  const int8_t* const queries_;
  int8_t* const contexts_;
};

class WindowTokens {
 public:
  // `Kind` is WindowAttention or DeferredWindowAttention.
  template <class Kind>
  WindowTokens(const Window& window, const Kind& attention, int64_t head)
      : count(attention.grid.area()),
        head_dim(attention.head_dim),
        channels_(attention.heads * head_dim),
        first_channel_(head * head_dim),
        window_(window) {}

  const int8_t* query(int64_t place) const { return window_.qkv[place] + first_channel_; }
  const int8_t* key(int64_t place) const { return query(place) + channels_; }
  const int8_t* value(int64_t place) const { return query(place) + 2 * channels_; }
  int8_t* context(int64_t place) const {
    return window_.y[place] == nullptr ? nullptr : window_.y[place] + first_channel_;
  }

  const int64_t count;
  const int64_t head_dim;

 private:
  const int64_t channels_;
  const int64_t first_channel_;
  const Window window_;
};

}  // namespace ivit::cpu
