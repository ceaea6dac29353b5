// What the AVX2 kernels share: loads, and requantisation in 32-bit lanes (see narrow_scale.h). Everything here is
// compiled for AVX2 and local to the file that includes it.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/narrow_scale.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

inline __m256i load(const void* values) { return _mm256_loadu_si256(static_cast<const __m256i*>(values)); }

inline void store(void* target, __m256i values) { _mm256_storeu_si256(static_cast<__m256i*>(target), values); }

inline __m128i load16(const void* bytes) { return _mm_loadu_si128(static_cast<const __m128i*>(bytes)); }

// The first `count` of 16 bytes, zeros behind them.
inline __m128i load16(const void* bytes, int64_t count) {
  if (count >= 16) return load16(bytes);
  uint8_t some[16] = {};
  std::memcpy(some, bytes, static_cast<size_t>(count));
  return load16(some);
}

inline void store16(void* target, __m128i bytes, int64_t count) {
  if (count >= 16) return _mm_storeu_si128(static_cast<__m128i*>(target), bytes);
  uint8_t some[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(some), bytes);
  std::memcpy(target, some, static_cast<size_t>(count));
}

// The largest of 32 int8 values: 127 - x is a byte without sign, and there is an instruction for the least of 8 words.
inline int8_t max_byte(__m256i values) {
  const __m256i from_top = _mm256_xor_si256(values, _mm256_set1_epi8(127));
  const __m128i bytes = _mm_min_epu8(_mm256_castsi256_si128(from_top), _mm256_extracti128_si256(from_top, 1));
  const __m128i words = _mm_min_epu8(bytes, _mm_srli_epi16(bytes, 8));
  return static_cast<int8_t>(127 - _mm_cvtsi128_si32(_mm_minpos_epu16(words)) % 256);
}

// The largest of 16 int16 values, in all of them.
inline __m256i max_word(__m256i values) {
  const __m128i flip = _mm_set1_epi16(INT16_MAX);
  const __m128i half = _mm_max_epi16(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  return _mm256_broadcastw_epi16(_mm_xor_si128(_mm_minpos_epu16(_mm_xor_si128(half, flip)), flip));
}

// 16 int16 values to bytes.
inline __m128i pack_bytes(__m256i values) {
  return _mm_packs_epi16(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
}

inline int32_t add_lanes(__m256i values) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

inline int64_t add_lanes64(__m256i values) {
  int64_t lanes[4];
  store(lanes, values);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

// Two registers of 8 values, in the order in which 128-bit lanes unpack 16 values of 16 bits, and pack them again.
struct Pair {
  __m256i low;
  __m256i high;
};

inline Pair add(const Pair& a, const Pair& b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

inline __m256i pack(const Pair& pair) { return _mm256_packs_epi32(pair.low, pair.high); }

// Upper halves of the 64-bit products of 8 lanes; `b_odd` has the odd lanes of b in the even places.
inline __m256i multiply_high(__m256i a, __m256i b, __m256i b_odd) {
  const __m256i even = _mm256_mul_epi32(a, b);
  const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), b_odd);
  return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

// A dyadic number for each of many channels.
struct ChannelScales {
  ChannelScales(const LaneScales& scales)
      : multiplier(scales.multiplier),
        multiplier_odd(scales.multiplier_odd),
        pre_shift(scales.pre_shift),
        rounding(scales.rounding),
        post_shift(scales.post_shift) {}
  // Those of a linear layer from `column` on.
  ChannelScales(const PackedLinear& linear, int64_t column)
      : multiplier(linear.multiplier.get() + column),
        multiplier_odd(linear.multiplier_odd.get() + column),
        pre_shift(linear.pre_shift.get() + column),
        rounding(linear.rounding.get() + column),
        post_shift(linear.post_shift.get() + column) {}

  // Lanes at, at + 1, .. at + 7.
  __m256i requantize(__m256i values, int64_t at) const {
    const __m256i shifted = _mm256_sllv_epi32(values, load(pre_shift + at));
    const __m256i high = multiply_high(shifted, load(multiplier + at), load(multiplier_odd + at));
    return _mm256_srav_epi32(_mm256_add_epi32(high, load(rounding + at)), load(post_shift + at));
  }

  const int32_t* multiplier;
  const int32_t* multiplier_odd;
  const int32_t* pre_shift;
  const int32_t* rounding;
  const int32_t* post_shift;
};

// One dyadic number for all lanes; the caller has made sure that it fits.
struct UniformScale {
  explicit UniformScale(const NarrowScale& scale)
      : multiplier(_mm256_set1_epi32(scale.multiplier)),
        rounding(_mm256_set1_epi32(scale.rounding)),
        pre_shift(_mm_cvtsi32_si128(scale.pre_shift)),
        post_shift(_mm_cvtsi32_si128(scale.post_shift)) {}

  __m256i requantize(__m256i values) const {
    const __m256i high = multiply_high(_mm256_sll_epi32(values, pre_shift), multiplier, multiplier);
    return _mm256_sra_epi32(_mm256_add_epi32(high, rounding), post_shift);
  }

  __m256i multiplier;
  __m256i rounding;
  __m128i pre_shift;
  __m128i post_shift;
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
