// What the AVX-512 kernels share: the product of bytes, and requantisation in 32-bit lanes (see narrow_scale.h).
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/narrow_scale.h"
#include "kernels/cpu/x86/avx512vnni/sizes.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

// vpdpbusd in assembly, because compilers copy accumulators around the intrinsic when so many are alive.
#define IVIT_DOT(accumulator, unsigned_bytes, signed_bytes) \
  asm("vpdpbusd %2, %1, %0" : "+v"(accumulator) : "v"(unsigned_bytes), "v"(signed_bytes))

namespace ivit::cpu::avx512vnni {
namespace {

inline __m512i load(const void* values) { return _mm512_load_si512(values); }

// The upper halves of the 64-bit products of even and of odd lanes.
inline __m512i merge_high(__m512i even, __m512i odd) {
  return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_CDAB);
}

// Upper halves of the 64-bit products of 16 lanes; `b_odd` has the odd lanes of b in the even places.
inline __m512i multiply_high(__m512i a, __m512i b, __m512i b_odd) {
  const __m512i even = _mm512_mul_epi32(a, b);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), b_odd);
  return merge_high(even, odd);
}

// The natural order of the bytes to which two saturating packs made four registers: they work inside 128-bit lanes.
inline __m512i natural_order(__m512i packed) {
  return _mm512_permutexvar_epi32(_mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0), packed);
}

// Four registers of 32 bits as bytes, with saturation, in the order of the packs.
inline __m512i packs_of(const __m512i (&values)[4]) {
  const __m512i low = _mm512_packs_epi32(values[0], values[1]);
  const __m512i high = _mm512_packs_epi32(values[2], values[3]);
  return _mm512_packs_epi16(low, high);
}

// In natural order.
inline __m512i pack_bytes(const __m512i (&values)[4]) { return natural_order(packs_of(values)); }

// 32 values of 32 bits, in the order in which 128-bit lanes unpack 32 values of 16 bits, and pack them again.
struct Pair {
  __m512i low;
  __m512i high;
};

inline Pair add(const Pair& a, const Pair& b) {
  return {_mm512_add_epi32(a.low, b.low), _mm512_add_epi32(a.high, b.high)};
}

inline __m512i pack(const Pair& pair) { return _mm512_packs_epi32(pair.low, pair.high); }

// Lanes of a and of b in turn, in each the sum of two.
inline __m512i add_pairs(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// The sums of the lanes of four registers.
inline __m128i add_lanes(const __m512i (&values)[4]) {
  const __m512i first = add_pairs(values[0], values[1]);
  const __m512i second = add_pairs(values[2], values[3]);
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// A dyadic number for each of 16 channels.
inline __m512i requantize(__m512i values, const LaneScales& scales) {
  const __m512i shifted = _mm512_sllv_epi32(values, load(scales.pre_shift));
  const __m512i high = multiply_high(shifted, load(scales.multiplier), load(scales.multiplier_odd));
  return _mm512_srav_epi32(_mm512_add_epi32(high, load(scales.rounding)), load(scales.post_shift));
}

// One dyadic number for all lanes; the caller has made sure that it fits.
struct UniformScale {
  explicit UniformScale(const NarrowScale& scale)
      : multiplier(_mm512_set1_epi32(scale.multiplier)),
        rounding(_mm512_set1_epi32(scale.rounding)),
        pre_shift(_mm_cvtsi32_si128(scale.pre_shift)),
        post_shift(_mm_cvtsi32_si128(scale.post_shift)),
        shifted(scale.pre_shift != 0) {}

  // kShifted is `shifted`: most numbers need no shift to the left.
  template <bool kShifted>
  __m512i requantize(__m512i values) const {
    if constexpr (kShifted) values = _mm512_sll_epi32(values, pre_shift);
    const __m512i high = multiply_high(values, multiplier, multiplier);
    return _mm512_sra_epi32(_mm512_add_epi32(high, rounding), post_shift);
  }

  __m512i multiplier;
  __m512i rounding;
  __m128i pre_shift;
  __m128i post_shift;
  bool shifted;
};

// A dyadic scale of int16 values, by vpmaddwd: with m = upper * 2^16 + lower, |lower| <= 2^15,
//   (v * m + 2^(e-1)) >> e = (v * upper + ((v * lower) >> 16) + 2^(e-17)) >> (e - 16).
// Upper is negated, because 2^15 is no int16 and -2^15 is.
struct Scale16 {
  // As registers take them, lower twice.
  struct Numbers {
    explicit Numbers(const NarrowScale& scale) {
      // From 48 on the result is 0, as |v * m| < 2^46.
      const int32_t shift = scale.wide.shift[0];
      const int32_t m = shift < 48 ? scale.wide.multiplier[0] : 0;
      const auto lower = static_cast<int16_t>(m);
      const int32_t upper = static_cast<int32_t>((int64_t{m} - lower) >> 16);
      factor_lower = static_cast<int32_t>(static_cast<uint16_t>(lower) * 0x10001u);
      factors = static_cast<int32_t>(static_cast<uint32_t>(-upper) & 0xffff) | -(1 << 16);
      rounding = shift < 48 ? 1 << (shift - 17) : 0;
      post_shift = std::min(shift - 16, 31);
    }

    int32_t factor_lower;
    int32_t factors;
    int32_t rounding;
    int32_t post_shift;
  };

  static bool takes(const NarrowScale& scale) { return scale.wide.multiplier[0] >= 0 && scale.wide.shift[0] >= 17; }

  explicit Scale16(const NarrowScale& scale) : Scale16(Numbers(scale)) {}
  explicit Scale16(const Numbers& numbers)
      : factor_lower(_mm512_set1_epi32(numbers.factor_lower)),
        factors(_mm512_set1_epi32(numbers.factors)),
        rounding(_mm512_set1_epi32(numbers.rounding)),
        post_shift(_mm_cvtsi32_si128(numbers.post_shift)) {}

  Pair operator()(__m512i values) const {
    const __m512i lower = _mm512_mulhi_epi16(values, factor_lower);
    return {finish(_mm512_unpacklo_epi16(values, lower)), finish(_mm512_unpackhi_epi16(values, lower))};
  }

 private:
  // -(v * upper + ((v * lower) >> 16)) off the rounding.
  __m512i finish(__m512i pairs) const {
    return _mm512_sra_epi32(_mm512_sub_epi32(rounding, _mm512_madd_epi16(pairs, factors)), post_shift);
  }

  __m512i factor_lower;
  __m512i factors;
  __m512i rounding;
  __m128i post_shift;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
