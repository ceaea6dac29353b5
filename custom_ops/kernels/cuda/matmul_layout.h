// Where the operands of the matrix product stand in shared memory, and which of their rows each lane of a warp takes.
//
// A block works on slices of 64 bytes of its rows of x and of the transposed weight. In shared memory a slice of a row
// is four chunks of 16 bytes, whose order changes from row to row (the swizzle), so that the eight rows that ldmatrix
// reads at once lie in different banks.
//
// A warp has 64 columns: eight products of eight columns each. Their columns are dealt out so that a lane's
// accumulators are two runs of eight consecutive columns: column c of product j is column
// 32 * (j / 4) + 8 * (c / 2) + 2 * (j % 4) + c % 2 of the warp.
#pragma once

#include "kernels/cuda/tensor_core.h"

namespace ivit::cuda {

constexpr int kStepBytes = 64;
constexpr int kChunkBytes = 16;
constexpr int kStepChunks = kStepBytes / kChunkBytes;
constexpr int kWarpColumns = 64;
constexpr int kWarpProducts = kWarpColumns / kMmaColumns;
// Consecutive columns of a lane.
constexpr int kRun = 8;
constexpr int kRuns = 2;

// Byte of a chunk in the slice of x, and in the slice of the weight.
constexpr int x_place(int row, int chunk) { return row * kStepBytes + (chunk ^ (row >> 1 & 3)) * kChunkBytes; }
constexpr int weight_place(int row, int chunk) { return row * kStepBytes + (chunk ^ (row >> 3 & 3)) * kChunkBytes; }

// The warp's column that stands in a column of a product.
constexpr int warp_column(int product, int column) {
  return 32 * (product / 4) + 8 * (column / 2) + 2 * (product % 4) + column % 2;
}

// The first column of a lane's run, counted from the warp's first.
constexpr int run_column(int lane, int run) { return 32 * run + 8 * (lane % 4); }

// Row and chunk that a lane addresses for the left fragment of 16 rows and 32 bytes.
constexpr int x_lane_row(int lane) { return lane % 16; }
constexpr int x_lane_chunk(int lane) { return lane / 16; }

// Row and chunk that a lane addresses for the right fragments of products 2 * pair and 2 * pair + 1.
constexpr int weight_lane_row(int lane, int pair) { return warp_column(2 * pair + lane / 16, lane % 8); }
constexpr int weight_lane_chunk(int lane) { return lane / 8 % 2; }

// The next slice of 32 bytes, the next 16 rows and the next pairs of products are steps of the lane's first place.
constexpr int half_step(int place, int half) { return place ^ half * 2 * kChunkBytes; }
constexpr int x_block_step(int block) { return block * kMmaRows * kStepBytes; }
constexpr int weight_pair_step(int pair) { return (32 * (pair / 2) + 4 * (pair % 2)) * kStepBytes; }

// A thread copies the same chunk of rows that are `rows` apart, 16 or 32; its first row is one of the first `rows`.
// The places of the others are steps too.
constexpr int x_copy_step(int place, int copy, int rows) { return place + copy * rows * kStepBytes; }
constexpr int weight_copy_step(int place, int copy, int rows) {
  return half_step(place, copy * rows / 16 % 2) + copy * rows * kStepBytes;
}

namespace layout_check {

// Whether the eight places that ldmatrix reads at once differ modulo 128 bytes, all banks.
template <class Place>
constexpr bool conflict_free(const Place& place) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned seen = 0;
    for (int lane = 8 * matrix; lane < 8 * matrix + 8; ++lane) seen |= 1u << (place(lane) / kChunkBytes % 8);
    if (seen != 255) return false;
  }
  return true;
}

constexpr bool x_steps_agree() {
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int first = x_place(x_lane_row(lane), x_lane_chunk(lane));
    for (int block = 0; block < 8; ++block) {
      for (int half = 0; half < 2; ++half) {
        const int place = x_place(16 * block + x_lane_row(lane), 2 * half + x_lane_chunk(lane));
        if (half_step(first, half) + x_block_step(block) != place) return false;
      }
    }
  }
  return true;
}

constexpr bool weight_steps_agree() {
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int first = weight_place(weight_lane_row(lane, 0), weight_lane_chunk(lane));
    for (int pair = 0; pair < kWarpProducts / 2; ++pair) {
      for (int half = 0; half < 2; ++half) {
        const int place = weight_place(weight_lane_row(lane, pair), 2 * half + weight_lane_chunk(lane));
        if (half_step(first, half) + weight_pair_step(pair) != place) return false;
      }
    }
  }
  return true;
}

constexpr bool copy_steps_agree(int rows) {
  for (int row = 0; row < rows; ++row) {
    for (int chunk = 0; chunk < kStepChunks; ++chunk) {
      for (int copy = 0; copy < 8; ++copy) {
        const int later = row + copy * rows;
        if (x_copy_step(x_place(row, chunk), copy, rows) != x_place(later, chunk)) return false;
        if (weight_copy_step(weight_place(row, chunk), copy, rows) != weight_place(later, chunk)) return false;
      }
    }
  }
  return true;
}

// Whether the columns of the eight products are the 64 of the warp, each once, and a lane's are its runs in order.
constexpr bool columns_agree() {
  uint64_t seen = 0;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    for (int product = 0; product < kWarpProducts; ++product) {
      for (int reg = 0; reg < 2; ++reg) {
        const int column = warp_column(product, c_column(lane, reg));
        if (column != run_column(lane, product / 4) + 2 * (product % 4) + reg) return false;
        seen |= uint64_t{1} << column;
      }
    }
  }
  return seen == ~uint64_t{0};
}

constexpr bool places_differ() {
  uint64_t x_seen[4] = {};
  uint64_t weight_seen[4] = {};
  for (int row = 0; row < 64; ++row) {
    for (int chunk = 0; chunk < kStepChunks; ++chunk) {
      const int x = x_place(row, chunk) / kChunkBytes;
      const int weight = weight_place(row, chunk) / kChunkBytes;
      x_seen[x / 64] |= uint64_t{1} << x % 64;
      weight_seen[weight / 64] |= uint64_t{1} << weight % 64;
    }
  }
  for (int i = 0; i < 4; ++i) {
    if (~x_seen[i] != 0 || ~weight_seen[i] != 0) return false;
  }
  return true;
}

struct XPlace {
  constexpr int operator()(int lane) const { return x_place(x_lane_row(lane), x_lane_chunk(lane)); }
};
struct WeightPlace {
  constexpr int operator()(int lane) const { return weight_place(weight_lane_row(lane, 0), weight_lane_chunk(lane)); }
};

static_assert(conflict_free(XPlace{}) && conflict_free(WeightPlace{}));
static_assert(x_steps_agree() && weight_steps_agree() && copy_steps_agree(16) && copy_steps_agree(32));
static_assert(columns_agree() && places_differ());

}  // namespace layout_check

}  // namespace ivit::cuda
