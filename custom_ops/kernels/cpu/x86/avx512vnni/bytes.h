// Registers of bytes: tables of 256 bytes, masks, maxima.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// 64 bytes at a time through a table of 256.
//
// vpermi2b looks up in 128 bytes, by the lower seven bits of the index; the uppermost bit chooses the half.
struct ByteTable {
  __m512i parts[4];

  explicit ByteTable(const void* table) {
    for (int i = 0; i < 4; ++i) parts[i] = _mm512_loadu_si512(static_cast<const uint8_t*>(table) + 64 * i);
  }
  ByteTable(__m512i a, __m512i b, __m512i c, __m512i d) : parts{a, b, c, d} {}

  // `upper` has the uppermost bits of the indices.
  __m512i operator()(__m512i index, __mmask64 upper) const {
    return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(parts[0], index, parts[1]),
                                  _mm512_permutex2var_epi8(parts[2], index, parts[3]));
  }
  __m512i operator()(__m512i index) const { return (*this)(index, _mm512_movepi8_mask(index)); }
};

// The first `count` of 64 bytes.
inline __mmask64 first_bytes(int64_t count) {
  return count <= 0 ? 0 : count >= 64 ? ~uint64_t{0} : _cvtu64_mask64((uint64_t{1} << count) - 1);
}

// The largest of 64 signed bytes, in byte 0.
inline __m128i max_byte(__m512i bytes) {
  const __m256i half = _mm256_max_epi8(_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64(bytes, 1));
  const __m128i quarter = _mm_max_epi8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  // 127 - x is unsigned, and there is an instruction for the smallest of eight unsigned 16-bit numbers.
  const __m128i flip = _mm_set1_epi8(INT8_MAX);
  const __m128i flipped = _mm_xor_si128(quarter, flip);
  return _mm_xor_si128(_mm_minpos_epu16(_mm_min_epu8(flipped, _mm_srli_epi16(flipped, 8))), flip);
}

// The largest of 32 int16 words, in all of them.
inline __m512i max_word(__m512i words) {
  const __m256i half = _mm256_max_epi16(_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64(words, 1));
  const __m128i quarter = _mm_max_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  const __m128i flip = _mm_set1_epi16(INT16_MAX);
  return _mm512_broadcastw_epi16(_mm_xor_si128(_mm_minpos_epu16(_mm_xor_si128(quarter, flip)), flip));
}

// Bytes from words of 0 to 255, 64 of them in natural order.
inline __m512i narrow_words(__m512i first, __m512i second) {
  return _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), _mm512_packus_epi16(first, second));
}

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
