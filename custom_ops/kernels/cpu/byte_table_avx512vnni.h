// 64 bytes at a time through a table of 256 bytes.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/target_avx512vnni.h"

namespace ivit::cpu {
namespace {

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

}  // namespace
}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
