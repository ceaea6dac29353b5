// Requantisation to int8 inside the attention kernels.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/device.h"

namespace ivit::cuda::attention {

// From this shift on, the rounding 2^(e-1) and the result are in the upper word of the product.
constexpr int32_t kUpperShift = 33;

// The upper word of x * y, in one instruction.
__device__ __forceinline__ int32_t multiply_upper(int32_t x, int32_t y) {
#ifdef __CUDACC__
  int64_t product;
  asm("mul.wide.s32 %0, %1, %2;\n" : "=l"(product) : "r"(x), "r"(y));
#else
  const int64_t product = static_cast<int64_t>(x) * y;
#endif
  return static_cast<int32_t>(product >> 32);
}

// scale_round() for shifts from kUpperShift on. The upper word is at most 2^30 in absolute value, and so is the
// rounding.
__device__ __forceinline__ int32_t scale_upper(int32_t x, int32_t multiplier, int32_t shift) {
  return (multiply_upper(x, multiplier) + (int32_t{1} << (shift - kUpperShift))) >> (shift - 32);
}

constexpr int32_t shift_left(int32_t x, int32_t by) { return static_cast<int32_t>(static_cast<uint32_t>(x) << by); }

// One dyadic number. With `upper`, x * 2^pre_shift fits int32, and `shift`, which counts from the product of the
// shifted x, is at least kUpperShift.
struct Scale {
  int32_t multiplier;
  int32_t shift;
  int32_t pre_shift;
  bool upper;

  // The scaled x, if `upper`. Without kPreShift, pre_shift is 0.
  template <bool kPreShift>
  __device__ __forceinline__ int32_t apply_upper(int32_t x) const {
    return scale_upper(kPreShift ? shift_left(x, pre_shift) : x, multiplier, shift);
  }

  // The scaled x, if not `upper`.
  constexpr int64_t apply(int32_t x) const { return scale_round(x, multiplier, shift); }

  // Four scaled accumulators, without a shift before. They need not be saturated, but saturate to the right int8.
  __device__ __forceinline__ void apply_four(const int32_t (&sums)[4], int32_t (&scaled)[4]) const {
    if (upper) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scaled[i] = apply_upper<false>(sums[i]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) scaled[i] = saturate<int8_t>(apply(sums[i]));
    }
  }
};

// The dyadic number for |x| <= largest. Without `may_shift` pre_shift is 0.
constexpr Scale make_scale(int32_t multiplier, int32_t shift, int64_t largest, bool may_shift) {
  const int32_t missing = shift < kUpperShift ? kUpperShift - shift : 0;
  const bool upper = missing == 0 || (may_shift && largest <= (int64_t{INT32_MAX} >> missing));
  const int32_t pre_shift = upper ? missing : 0;
  return {multiplier, shift + pre_shift, pre_shift, upper};
}

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

}  // namespace ivit::cuda::attention
