// Sizes, layouts and index arithmetic that the attention kernels share.
//
// An item is one head of one image, or of one window: `keys` places, each with a query, a key and a value of head_dim
// bytes, padded with zeros to kDim. A block takes 16 queries of an item for each of its warps. Keys and values come in
// tiles of 64, and a warp takes 32 of them in a step, the inner size of a tensor-core product.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ivit::cuda::attention {

constexpr int kWarpQueries = 16;
constexpr int kStepKeys = 32;
constexpr int kTileKeys = 64;
constexpr int kStages = 3;
constexpr int kMaxWarps = 4;
constexpr int kEntries = 256;
// A lane reads one of eight copies of the exponentials, so that only four lanes can meet at a bank.
constexpr int kCopies = 8;
constexpr int kMaxHeadDim = 256;

// Scores of a warp's queries for the keys of a step.
constexpr int kStepScores = kWarpQueries * kStepKeys;

// Blocks of four warps that a multiprocessor should have room for at once, which limits registers: most are sums.
// `extra` is what an item adds to them.
constexpr int least_blocks(int dim, bool split, int extra) {
  const int sums = (split && dim <= 128 ? dim : dim / 2) + (split ? 8 : 0) + extra;
  return sums <= 16 ? 7 : sums <= 32 ? 6 : sums <= 48 ? 5 : sums <= 72 ? 4 : sums <= 96 ? 3 : 2;
}

enum Part { kQueries, kKeys, kValues };

constexpr int group_count(int queries) { return (queries + kWarpQueries - 1) / kWarpQueries; }
constexpr int step_count(int keys) { return (keys + kStepKeys - 1) / kStepKeys; }
constexpr int tile_count(int keys) { return (keys + kTileKeys - 1) / kTileKeys; }

// -- tiles in shared memory: rows of kDim bytes, in chunks of 16 that are swizzled

// In how many ways the chunks of a row are ordered, so that the same chunk of eight rows lies in different banks.
constexpr int swizzle_period(int chunks) { return chunks % 8 == 0 ? 8 : chunks % 4 == 0 ? 4 : 2; }

// Where a chunk of a row begins. Adding 8 to the row adds 8 * kDim to the offset.
template <int kDim>
constexpr int tile_offset(int row, int chunk) {
  constexpr int period = swizzle_period(kDim / 16);
  return row * kDim + 16 * (chunk ^ (row / (8 / period) % period));
}

// -- the places of a lane's scores
//
// The product of queries and keys gives a lane the keys 2 * part and 2 * part + 1 of every 8; the product with values
// wants four keys of a row in a register. Which keys those are is free, so they are the ones that the lane has: byte i
// of half h of a step is key 16 * h + 8 * (i / 2) + 2 * part + i % 2. Rows of 16-bit elements that are loaded
// transposed bring values in the same order.

constexpr int element_key(int lane, int half, int i) { return 16 * half + 8 * (i / 2) + 2 * (lane % 4) + i % 2; }

// Where the byte of a key of a step stands when they are ordered [part][half][i].
constexpr int element_place(int key) { return 8 * (key % 8 / 2) + 4 * (key / 16) + 2 * (key / 8 % 2) + key % 2; }

// -- a block's shared memory: exponentials [256, copies], tiles, scores, and what an item wants for itself

constexpr int kTileOffset = kEntries * kCopies * 4;
constexpr size_t score_offset(int dim) { return kTileOffset + static_cast<size_t>(kStages * kTileKeys * dim); }
constexpr size_t item_offset(int dim, int warps, int keys, int score_bytes) {
  return score_offset(dim) + static_cast<size_t>(warps * step_count(keys) * kStepScores * score_bytes);
}

}  // namespace ivit::cuda::attention
