// Products of a warp's 16 queries with keys, and what all softmaxes do with the scores that come of them.
//
// A step has 16 scores for each lane, which no other lane reads, in four groups r of four keys: row group + 8 * (r %
// 2), half r / 2, in the order of element_key. That is the fragment of A for the product with the values.
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

// The products of group r, of those of a step.
__device__ __forceinline__ void products_of(const int32_t (&sums)[4][4], int r, int32_t (&products)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) products[i] = sums[r / 2 * 2 + i / 2][r % 2 * 2 + i % 2];
}

// Sets those of a step's numbers to `value` whose keys are behind the last one.
template <class T>
__device__ __forceinline__ void set_missing(const Problem& problem, int step, T value, T (&numbers)[4][4]) {
  const int left = problem.keys - kStepKeys * step;
  if (left < kStepKeys) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (element_key(lane_index(), i / 8, i % 4) >= left) numbers[i / 4][i % 4] = value;
    }
  }
}

// Sets those of a group's numbers to `value` whose keys do not count for their query: where a byte of
// item.differences(step, half, row) is not zero.
template <class Item, class T>
__device__ __forceinline__ void set_masked(const Item& item, int step, int r, T value, T (&numbers)[4]) {
  if (item.masks()) {
    const uint32_t differences = item.differences(step, r / 2, r % 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((differences >> (8 * i) & 255) != 0) numbers[i] = value;
    }
  }
}

// Raises the maxima of both rows to the scores of a step.
__device__ __forceinline__ void raise_maxima(const int32_t (&scores)[4][4], int32_t (&maxima)[2]) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    int32_t& maximum = maxima[i / 4 % 2];
    maximum = scores[i / 4][i % 4] > maximum ? scores[i / 4][i % 4] : maximum;
  }
}

// The maximum of a row, of those of the four lanes that share it.
__device__ __forceinline__ int32_t row_maximum(int32_t maximum) {
#pragma unroll
  for (int lanes = 1; lanes < 4; lanes *= 2) {
    const int32_t other = __shfl_xor_sync(0xffffffffu, maximum, lanes);
    maximum = other > maximum ? other : maximum;
  }
  return maximum;
}

// Bytes 2 and 3 of four words, as the bytes of `lower` and `upper`. Without kSplit there is no `lower`.
template <bool kSplit>
__device__ __forceinline__ void pack_upper_bytes(const uint32_t (&words)[4], uint32_t& upper, uint32_t& lower) {
  const uint32_t first = __byte_perm(words[0], words[1], 0x7362);
  const uint32_t second = __byte_perm(words[2], words[3], 0x7362);
  upper = __byte_perm(first, second, 0x7632);
  if constexpr (kSplit) lower = __byte_perm(first, second, 0x5410);
}

}  // namespace ivit::cuda::attention
