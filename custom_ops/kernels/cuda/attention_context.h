// The context of a warp's 16 queries: the product of probabilities, or exponentials, and values, requantised to int8.
//
// A group of 16 channels takes two fragments of C, those of the even and of the odd channels, so that a lane has four
// channels in a row of each of its two queries: 16 * group + 4 * part onwards.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_scale.h"
#include "kernels/cuda/attention_tile.h"

namespace ivit::cuda::attention {

// Accumulators of all channels. A factor of two bytes is 256 * upper + lower byte. Up to 128 channels the upper
// products have sums of their own, which are added once in the end; beyond, they are added in every step, because
// registers do not suffice for both. Sums wrap modulo 2^32, as the additions in the function bodies do.
template <int kDim, bool kSplit>
class Context {
 public:
  __device__ __forceinline__ Context() {
#pragma unroll
    for (int i = 0; i < kFragments * 4; ++i) sums_[i / 4][i % 4] = 0;
#pragma unroll
    for (int i = 0; i < kUpperFragments * 4; ++i) upper_[i / 4][i % 4] = 0;
  }

  // Adds the product with the values of 32 keys, which stand in the tile from row `first` on.
  __device__ __forceinline__ void add(const int8_t* tile, int first, const uint32_t (&upper)[4],
                                      const uint32_t (&lower)[4]) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      uint32_t values[2][2];
      load_values<kDim>(tile, first, group, values);
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        int32_t (&sums)[4] = sums_[2 * group + odd];
        if constexpr (!kSplit) {
          mma<Left::kUnsigned>(sums, upper, values[odd]);
        } else if constexpr (kUpperSums) {
          mma<Left::kUnsigned>(sums, lower, values[odd]);
          mma<Left::kUnsigned>(upper_[2 * group + odd], upper, values[odd]);
        } else {
          int32_t products[4] = {};
          mma<Left::kUnsigned>(products, upper, values[odd]);
          mma<Left::kUnsigned>(sums, lower, values[odd]);
          add_upper(sums, products);
        }
      }
    }
  }

  // To be called once, after the last step.
  __device__ __forceinline__ void finish() {
    if constexpr (kUpperSums) {
#pragma unroll
      for (int i = 0; i < kFragments; ++i) add_upper(sums_[i], upper_[i]);
    }
  }

  // Four channels of one of the lane's rows. Registers have no index, so a row is chosen.
  __device__ __forceinline__ void get(int group, int row, int32_t (&sums)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t (&both)[4] = sums_[2 * group + i % 2];
      sums[i] = row == 0 ? both[i / 2] : both[2 + i / 2];
    }
  }

 private:
  static constexpr int kGroups = kDim / 16;
  static constexpr int kFragments = kDim / 8;
  static constexpr bool kUpperSums = kSplit && kDim <= 128;
  static constexpr int kUpperFragments = kUpperSums ? kFragments : 1;

  // sums += 256 * upper, modulo 2^32.
  static __device__ __forceinline__ void add_upper(int32_t (&sums)[4], const int32_t (&upper)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + (static_cast<uint32_t>(upper[i]) << 8));
    }
  }

  int32_t sums_[kFragments][4];
  int32_t upper_[kUpperFragments][4];
};

// The dyadic numbers of four channels. Channels outside of the head get those of its last one. `scales` counts from the
// head's first channel.
struct FourScales {
  __device__ __forceinline__ FourScales(const Dyadic& scales, int channel, int head_dim) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int inside = channel + i < head_dim ? channel + i : head_dim - 1;
      multiplier[i] = __ldg(scales.multiplier + inside * static_cast<int>(scales.multiplier_stride));
      shift[i] = __ldg(scales.shift + inside * static_cast<int>(scales.shift_stride));
    }
  }

  // Four sums to int8, as the bytes of a word.
  __device__ __forceinline__ uint32_t requantize(const int32_t (&sums)[4], bool upper) const {
    int32_t scaled[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scaled[i] = upper ? scale_upper(sums[i], multiplier[i], shift[i])
                        : saturate<int8_t>(scale_round(sums[i], multiplier[i], shift[i]));
    }
    return pack_saturated(scaled);
  }

  int32_t multiplier[4];
  int32_t shift[4];
};

// Stores those of four channels that the head has.
__device__ __forceinline__ void store_four(const Problem& problem, int8_t* y, int channel, uint32_t four) {
  if (problem.alignment >= 4) {
    if (channel < problem.head_dim) *reinterpret_cast<uint32_t*>(y + channel) = four;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (channel + i < problem.head_dim) y[channel + i] = static_cast<int8_t>(four >> (8 * i) & 255);
  }
}

// Requantises and stores the context of the queries from `query` on. rows.divide() makes it of sums; item.target(place)
// is where that of a place begins, or null; item.first_channel() the head's first one.
template <int kDim, bool kSplit, class Rows, class Item>
__device__ __forceinline__ void store_context(const Problem& problem, const Rows& rows, const Item& item, int query,
                                              const Context<kDim, kSplit>& context) {
  const int lane = lane_index();
  const Dyadic head_scales = problem.context.from(item.first_channel());
  int8_t* targets[2];
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const int place = query + lane / 4 + 8 * row;
    targets[row] = place < problem.keys ? item.target(problem, place) : nullptr;
  }
#pragma unroll
  for (int group = 0; group < kDim / 16; ++group) {
    if (16 * group >= problem.head_dim) break;
    const int channel = 16 * group + 4 * (lane % 4);
    const FourScales scales(head_scales, channel, problem.head_dim);
    // For many channels this is most of a kernel's code, and little of its time.
    constexpr int kUnrolled = kDim > 96 ? 1 : 2;
#pragma unroll kUnrolled
    for (int row = 0; row < 2; ++row) {
      int32_t sums[4];
      context.get(group, row, sums);
      rows.divide(row, sums);
      int8_t* const target = row == 0 ? targets[0] : targets[1];
      if (target != nullptr) store_four(problem, target, channel, scales.requantize(sums, problem.upper_context));
    }
  }
}

}  // namespace ivit::cuda::attention
