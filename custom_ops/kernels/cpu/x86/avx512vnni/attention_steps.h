// What the attention kernels share: packing of keys and values, requantisation of the context.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/x86/avx512vnni/target.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

namespace ivit::cpu::avx512vnni {
namespace {

// Whether a left shift keeps values of this size inside int32. Not shifted, they may wrap around as they like.
constexpr bool has_room(int64_t largest, int32_t shift) {
  return shift == 0 || largest <= (int64_t{INT32_MAX} >> shift);
}

constexpr int64_t kScaleLanes = 16;

// Requantisation of 16 channels.
struct ContextScale {
  ContextScale(const Dyadic& scale, int64_t channels) {
    NarrowScale narrow;
    for (int64_t c = 0; c < kScaleLanes; ++c) {
      // One number for all channels is taken apart once.
      if (c < channels && (c == 0 || scale.multiplier_stride != 0 || scale.shift_stride != 0)) {
        narrow = NarrowScale(scale.from(c));
        largest_pre_shift = std::max(largest_pre_shift, narrow.pre_shift);
      }
      multiplier[c] = narrow.multiplier;
      pre_shift[c] = narrow.pre_shift;
      rounding[c] = narrow.rounding;
      post_shift[c] = narrow.post_shift;
    }
    _mm512_store_si512(odd_multiplier, _mm512_srli_epi64(load(multiplier), 32));
  }

  __m512i requantize(__m512i sum) const {
    const __m512i shifted = _mm512_sllv_epi32(sum, load(pre_shift));
    const __m512i high = multiply_high(shifted, load(multiplier), load(odd_multiplier));
    return _mm512_srav_epi32(_mm512_add_epi32(high, load(rounding)), load(post_shift));
  }

  alignas(64) int32_t multiplier[kScaleLanes];
  alignas(64) int32_t odd_multiplier[kScaleLanes];
  alignas(64) int32_t pre_shift[kScaleLanes];
  alignas(64) int32_t rounding[kScaleLanes];
  alignas(64) int32_t post_shift[kScaleLanes];
  int32_t largest_pre_shift = 0;
};

// 16 keys x 64 bytes, a transposition of 16 x 16 groups of four bytes: register g of the result has group g of every
// key.
inline void transpose_keys(__m512i (&a)[16], __m512i (&b)[16]) {
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // a[4 * i + j] has groups j, j + 4, j + 8, j + 12 of keys 4 * i .. 4 * i + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i even_01 = _mm512_shuffle_i32x4(a[j], a[j + 4], 0x88);
    const __m512i odd_01 = _mm512_shuffle_i32x4(a[j], a[j + 4], 0xdd);
    const __m512i even_23 = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0x88);
    const __m512i odd_23 = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0xdd);
    b[j] = _mm512_shuffle_i32x4(even_01, even_23, 0x88);
    b[j + 4] = _mm512_shuffle_i32x4(odd_01, odd_23, 0x88);
    b[j + 8] = _mm512_shuffle_i32x4(even_01, even_23, 0xdd);
    b[j + 12] = _mm512_shuffle_i32x4(odd_01, odd_23, 0xdd);
  }
}

// Brings 4 values x 16 channels into groups of four values, channel by channel.
class InterleaveValues {
 public:
  InterleaveValues() {
    alignas(64) uint8_t order[64];
    for (int i = 0; i < 64; ++i) order[i] = static_cast<uint8_t>(i % 4 * 16 + i / 4);
    order_ = load(order);
  }
  __m512i operator()(__m128i value0, __m128i value1, __m128i value2, __m128i value3) const {
    __m512i rows = _mm512_castsi128_si512(value0);
    rows = _mm512_inserti32x4(rows, value1, 1);
    rows = _mm512_inserti32x4(rows, value2, 2);
    rows = _mm512_inserti32x4(rows, value3, 3);
    return _mm512_permutexvar_epi8(order_, rows);
  }

 private:
  __m512i order_;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
