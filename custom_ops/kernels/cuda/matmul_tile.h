// The tiles of the matrix product, and which one fits a shape.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit::cuda {

// Rows and columns of the result that one block computes. `cost` is its time in an arbitrary unit, when the
// multiprocessors are full: small tiles load more bytes for each product.
struct Tile {
  int rows;
  int columns;
  int cost;
};

constexpr Tile kTiles[] = {{128, 128, 16}, {128, 64, 9}, {64, 64, 6}, {32, 64, 4}};
constexpr int kTileCount = sizeof kTiles / sizeof kTiles[0];

constexpr int64_t tile_count(const Tile& tile, int64_t rows, int64_t columns) {
  return divide_up(rows, tile.rows) * divide_up(columns, tile.columns);
}

// The index of the tile whose blocks, spread evenly over the multiprocessors, end first; the larger of equals.
constexpr int choose_tile(int64_t rows, int64_t columns, int multiprocessors) {
  int best = 0;
  int64_t best_cost = INT64_MAX;
  for (int i = 0; i < kTileCount; ++i) {
    const int64_t cost = divide_up(tile_count(kTiles[i], rows, columns), multiprocessors) * kTiles[i].cost;
    if (cost < best_cost) {
      best = i;
      best_cost = cost;
    }
  }
  return best;
}

// One image of DeiT-tiny wants small tiles, and 64 of DeiT-base large ones.
static_assert(choose_tile(197, 576, 132) == 3);
static_assert(choose_tile(64 * 197, 3072, 132) == 0);
static_assert(choose_tile(1, 1, 1) == 3);

}  // namespace ivit::cuda
