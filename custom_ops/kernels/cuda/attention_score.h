// Scores of a warp's 16 queries, as int8, and the maximum of every row.
//
// A score is stored plus 128, as a byte without sign, so that distances from the maximum are differences of words. The
// scores of a step are 16 bytes for each lane, which no other lane reads: register r is row group + 8 * (r % 2), half
// r / 2, in the order of element_key. That is the fragment of A for the product with the values.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_tile.h"

namespace ivit::cuda::attention {

// The raw products of a step: for 8 keys each, a fragment of C.
template <int kDim>
__device__ __forceinline__ void multiply_keys(const int8_t* tile, int first,
                                              const uint32_t (&queries)[kDim / kMmaInner][4], int32_t (&sums)[4][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int k = 0; k < kDim / kMmaInner; ++k) {
      uint32_t keys[2][2];
      load_keys<kDim>(tile, first + 16 * half, k, keys);
      mma<Left::kSigned>(sums[2 * half], queries[k], keys[0]);
      mma<Left::kSigned>(sums[2 * half + 1], queries[k], keys[1]);
    }
  }
}

// One step: keys [32 * step, 32 * step + 32) of the item, which stand in the tile from row `first` on.
// item.score(accumulators, step, half, row) gives four int8 scores, or what saturates to them; where a byte of
// item.differences(step, half, row) is not zero, the score does not count.
template <int kDim, class Item>
__device__ __forceinline__ uint4 score_step(const Problem& problem, const Item& item, const int8_t* tile, int step,
                                            int first, const uint32_t (&queries)[kDim / kMmaInner][4],
                                            int32_t (&maxima)[2]) {
  int32_t sums[4][4] = {};
  multiply_keys<kDim>(tile, first, queries, sums);
  const int left = problem.keys - kStepKeys * step;
  int32_t scores[4][4];
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = r % 2;
    const int half = r / 2;
    const int32_t accumulators[4] = {sums[2 * half][2 * row], sums[2 * half][2 * row + 1], sums[2 * half + 1][2 * row],
                                     sums[2 * half + 1][2 * row + 1]};
    item.score(accumulators, step, half, row, scores[r]);
  }
  if (item.masks()) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const uint32_t differences = item.differences(step, i / 8, i / 4 % 2);
      if ((differences >> (8 * (i % 4)) & 255) != 0) scores[i / 4][i % 4] = -128;
    }
  }
  if (left < kStepKeys) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (element_key(lane_index(), i / 8, i % 4) >= left) scores[i / 4][i % 4] = -128;
    }
  }
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    int32_t& maximum = maxima[i / 4 % 2];
    maximum = scores[i / 4][i % 4] > maximum ? scores[i / 4][i % 4] : maximum;
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) words[r] = pack_saturated(scores[r]) ^ 0x80808080u;
  return {words[0], words[1], words[2], words[3]};
}

}  // namespace ivit::cuda::attention
