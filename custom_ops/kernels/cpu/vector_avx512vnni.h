// What the AVX-512 kernels share: the product of bytes, and requantisation in 32-bit lanes (see PackedLinear).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/target_avx512vnni.h"

// vpdpbusd in assembly, because compilers copy accumulators around the intrinsic when so many are alive.
#define IVIT_DOT(accumulator, unsigned_bytes, signed_bytes) \
  asm("vpdpbusd %2, %1, %0" : "+v"(accumulator) : "v"(unsigned_bytes), "v"(signed_bytes))

namespace ivit::cpu {
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

}  // namespace
}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
