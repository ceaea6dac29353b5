// Requantisation to int8 inside the attention kernels.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/device.h"

namespace ivit::cuda::attention {

// One dyadic number. With `upper`, x * 2^pre_shift fits int32, and the result is in the upper word of the product
// alone; `shift` is then at least 32 and counts from the product of the shifted x.
struct Scale {
  int64_t rounding;
  int32_t multiplier;
  int32_t shift;
  int32_t pre_shift;
  bool upper;
};

// The dyadic number for |x| <= largest. Without `may_shift` pre_shift is 0.
constexpr Scale make_scale(int32_t multiplier, int32_t shift, int64_t largest, bool may_shift) {
  const int32_t missing = shift < 32 ? 32 - shift : 0;
  const bool upper = missing == 0 || (may_shift && largest <= (int64_t{INT32_MAX} >> missing));
  const int32_t pre_shift = upper ? missing : 0;
  const int32_t total = shift + pre_shift;
  return {int64_t{1} << (total - 1), multiplier, total, pre_shift, upper};
}

// The upper word of x * m + rounding, shifted on: scale_round() for shifts of 32 and more.
constexpr int32_t scale_upper(int32_t x, int32_t multiplier, int64_t rounding, int32_t shift) {
  return static_cast<int32_t>((static_cast<int64_t>(x) * multiplier + rounding) >> 32) >> (shift - 32);
}

constexpr int32_t shift_left(int32_t x, int32_t by) { return static_cast<int32_t>(static_cast<uint32_t>(x) << by); }

constexpr int32_t clamp_int8(int32_t x) { return x < -128 ? -128 : x > 127 ? 127 : x; }

// Four numbers, saturated to int8, as the bytes of a word, the first one lowest.
__device__ __forceinline__ uint32_t pack_saturated(const int32_t (&x)[4]) {
#ifdef __CUDACC__
  uint32_t upper, all;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;\n" : "=r"(upper) : "r"(x[3]), "r"(x[2]), "r"(0));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;\n" : "=r"(all) : "r"(x[1]), "r"(x[0]), "r"(upper));
  return all;
#else
  uint32_t all = 0;
  for (int i = 0; i < 4; ++i) all |= static_cast<uint32_t>(static_cast<uint8_t>(clamp_int8(x[i]))) << (8 * i);
  return all;
#endif
}

// Four accumulators at another scale. They need not be saturated, but saturate to the right int8.
__device__ __forceinline__ void scale_four(const Scale& scale, const int32_t (&sums)[4], int32_t (&scaled)[4]) {
  if (scale.upper) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scaled[i] = scale_upper(sums[i], scale.multiplier, scale.rounding, scale.shift);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) scaled[i] = saturate<int8_t>(scale_round(sums[i], scale.multiplier, scale.shift));
  }
}

}  // namespace ivit::cuda::attention
