// The windows of Swin on a grid of tokens, shared by all devices.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit {

// The grid, its tokens numbered row by row, is shifted cyclically up and to the left, padded below and on the right to
// whole windows, and cut into windows, row by row. Places inside a window are numbered row by row too.
struct WindowGrid {
  int64_t height;
  int64_t width;
  int64_t window;
  int64_t shift;

  static constexpr int64_t kPadding = -1;

  constexpr int64_t down() const { return divide_up(height, window); }
  constexpr int64_t across() const { return divide_up(width, window); }
  constexpr int64_t count() const { return down() * across(); }
  constexpr int64_t area() const { return window * window; }
  constexpr int64_t tokens() const { return height * width; }

  // The token at a place of a window, or kPadding.
  constexpr int64_t token(int64_t number, int64_t place) const {
    const int64_t row = number / across() * window + place / window;
    const int64_t column = number % across() * window + place % window;
    if (row >= height || column >= width) return kPadding;
    return (row + shift) % height * width + (column + shift) % width;
  }

  // body(place, token) for every place of a window: as token() has it, without its divisions.
  template <class Body>
  void for_places(int64_t number, const Body& body) const {
    const int64_t top = number / across() * window;
    const int64_t left = number % across() * window;
    for (int64_t i = 0; i < window; ++i) {
      const int64_t row = (top + i + shift) % height;
      int64_t column = (left + shift) % width;
      for (int64_t j = 0; j < window; ++j) {
        const bool inside = top + i < height && left + j < width;
        body(i * window + j, inside ? row * width + column : kPadding);
        if (++column == width) column = 0;
      }
    }
  }

  // Whether a window has tokens that only the shift made neighbours.
  constexpr bool mixed(int64_t number) const {
    return shift > 0 && (number / across() == down() - 1 || number % across() == across() - 1);
  }

  // Tokens of one window see each other where their regions are equal.
  constexpr uint8_t region(int64_t number, int64_t place) const {
    const bool wrapped_row = number / across() == down() - 1 && place / window >= window - shift;
    const bool wrapped_column = number % across() == across() - 1 && place % window >= window - shift;
    return static_cast<uint8_t>(2 * wrapped_row + wrapped_column);
  }

  // The row of the relative position table for a query and a key, by their places.
  constexpr int64_t offset(int64_t query, int64_t key) const {
    const int64_t down_by = query / window - key / window + window - 1;
    const int64_t across_by = query % window - key % window + window - 1;
    return down_by * (2 * window - 1) + across_by;
  }
};

}  // namespace ivit
