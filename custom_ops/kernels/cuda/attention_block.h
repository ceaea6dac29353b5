// The way of a block from queries, keys and values to the context. Scores stay in shared memory: exponentials are not
// multiplicative in integers, so a row's maximum is needed before any exponential.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_context.h"
#include "kernels/cuda/attention_score.h"
#include "kernels/cuda/attention_tile.h"

namespace ivit::cuda::attention {

// The tiles of an item in the order of their use, first keys, then values, through a ring of three stages. The third
// stage has the queries first.
template <int kDim, class Item>
class Tiles {
 public:
  __device__ __forceinline__ Tiles(const Problem& problem, const Item& item, int8_t* memory)
      : problem_(problem), item_(item), memory_(memory), tiles_(tile_count(problem.keys)) {}

  // Starts the first copies and waits for the queries.
  __device__ __forceinline__ const int8_t* load_queries(int first_query) {
    const int rows = static_cast<int>(blockDim.x) / kWarpLanes * kWarpQueries;
    load_tile<kDim>(problem_, item_, Part::kQueries, first_query, rows, stage(2));
    commit_copies();
    load(0);
    load(1);
    wait_for_copies<2>();
    __syncthreads();
    return stage(2);
  }

  // The next tile. The one before must not be read any more.
  __device__ __forceinline__ const int8_t* next() {
    wait_for_copies<1>();
    __syncthreads();
    load(number_ + 2);
    return stage(number_++);
  }

 private:
  __device__ __forceinline__ int8_t* stage(int number) const { return memory_ + number % kStages * (kTileKeys * kDim); }

  __device__ __forceinline__ void load(int number) {
    if (number < 2 * tiles_) {
      const bool keys = number < tiles_;
      const int first = (keys ? number : number - tiles_) * kTileKeys;
      const int rows = problem_.keys - first <= kStepKeys ? kStepKeys : kTileKeys;
      load_tile<kDim>(problem_, item_, keys ? Part::kKeys : Part::kValues, first, rows, stage(number));
    }
    commit_copies();
  }

  const Problem& problem_;
  const Item& item_;
  int8_t* const memory_;
  const int tiles_;
  int number_ = 0;
};

// Calls step(number, tile, first row in the tile) for all steps. Warps without queries only help with the tiles. The
// wide heads of no known network get the smaller code.
template <int kDim, class Item, class Step>
__device__ __forceinline__ void for_each_step(Tiles<kDim, Item>& tiles, int keys, bool active, const Step& step) {
  for (int tile_number = 0; tile_number < tile_count(keys); ++tile_number) {
    const int8_t* const tile = tiles.next();
    if (!active) continue;
    constexpr int kUnrolled = kDim > 128 ? 1 : 2;
#pragma unroll kUnrolled
    for (int half = 0; half < 2; ++half) {
      if (tile_number * kTileKeys + half * kStepKeys < keys) step(2 * tile_number + half, tile, half * kStepKeys);
    }
  }
}

// Copies the table of exponentials to shared memory. Followed by a barrier before it is used.
template <class Softmax>
__device__ __forceinline__ void load_table(const Softmax& softmax, int8_t* memory) {
  constexpr int kVectors = kCopies / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kEntries * kVectors; i += static_cast<int>(blockDim.x)) {
    const uint32_t entry = softmax.entry(i / kVectors);
    reinterpret_cast<uint4*>(memory)[i] = {entry, entry, entry, entry};
  }
}

// The context of the queries from first_query on, 16 for each warp. The item is ready for use by all threads.
template <int kDim, bool kSplit, class Softmax, class Item>
__device__ __forceinline__ void attend(const Problem& problem, const Softmax& softmax, Item& item, int first_query) {
  int8_t* const memory = shared_memory<int8_t>();
  const int query = first_query + warp_index() * kWarpQueries;
  const bool active = query < problem.keys;
  const int step_bytes = kStepScores * Softmax::kScoreBytes;
  int8_t* const scores = memory + score_offset(kDim) + warp_index() * step_count(problem.keys) * step_bytes;
  load_table(softmax, memory);
  item.take_queries(problem, query);

  Tiles<kDim, Item> tiles(problem, item, memory + kTileOffset);
  typename Softmax::template Rows<kSplit, Item> rows(problem, softmax, item, shared_memory<uint32_t>(),
                                                     reinterpret_cast<uint4*>(scores) + lane_index());
  {
    uint32_t queries[kDim / kMmaInner][4];
    load_queries<kDim>(tiles.load_queries(first_query), queries);
    for_each_step(tiles, problem.keys, active, [&](int step, const int8_t* tile, int first) {
      int32_t sums[4][4] = {};
      multiply_keys<kDim>(tile, first, queries, sums);
      rows.take(step, sums);
    });
  }
  if (active) rows.end_scores();

  Context<kDim, kSplit> context;
  for_each_step(tiles, problem.keys, active, [&](int step, const int8_t* tile, int first) {
    uint32_t upper[4];
    uint32_t lower[4];
    rows.fragments(step, upper, lower);
    context.add(tile, first, upper, lower);
  });
  if (!active) return;
  context.finish();
  rows.end_fragments();
  store_context(problem, rows, item, query, context);
}

}  // namespace ivit::cuda::attention
