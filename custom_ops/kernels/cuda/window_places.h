// The windows of a WindowGrid for kernels: the same numbers in 32 bits, with few divisions.
#pragma once

#include <cstdint>

#include "kernels/common/window_grid.h"

namespace ivit::cuda {

// Grids are up to 65536 x 65536, windows up to 256 x 256. A window is named by its row and column among the windows.
struct WindowPlaces {
  int height;
  int width;
  int window;
  int shift;
  // The shift modulo the height and the width.
  int row_shift;
  int column_shift;
  int down;
  int across;

  // The token at a place of a window, or WindowGrid::kPadding.
  constexpr int64_t token(int window_row, int window_column, int place) const {
    const int row = window_row * window + place / window;
    const int column = window_column * window + place % window;
    if (row >= height || column >= width) return WindowGrid::kPadding;
    const int from_row = row + row_shift < height ? row + row_shift : row + row_shift - height;
    const int from_column = column + column_shift < width ? column + column_shift : column + column_shift - width;
    return int64_t{from_row} * width + from_column;
  }

  // Whether a window has tokens that only the shift made neighbours.
  constexpr bool mixed(int window_row, int window_column) const {
    return shift > 0 && (window_row == down - 1 || window_column == across - 1);
  }

  // Tokens of one window see each other where their regions are equal.
  constexpr uint8_t region(int window_row, int window_column, int place) const {
    const bool wrapped_row = window_row == down - 1 && place / window >= window - shift;
    const bool wrapped_column = window_column == across - 1 && place % window >= window - shift;
    return static_cast<uint8_t>(2 * wrapped_row + wrapped_column);
  }
};

constexpr WindowPlaces make_window_places(const WindowGrid& grid) {
  return {static_cast<int>(grid.height),
          static_cast<int>(grid.width),
          static_cast<int>(grid.window),
          static_cast<int>(grid.shift),
          static_cast<int>(grid.shift % grid.height),
          static_cast<int>(grid.shift % grid.width),
          static_cast<int>(grid.down()),
          static_cast<int>(grid.across())};
}

}  // namespace ivit::cuda
