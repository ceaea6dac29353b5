// From exponentials to probabilities, as bytes.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/common/softmax.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// min((E * F + rounding) >> (31 - frac_bits), 2^frac_bits - 1), for which 32-bit lanes do: E * F + rounding is at most
// 2^31.
template <bool kTwoBytes>
class ProbabilityBytes {
 public:
  static constexpr int kBytes = kTwoBytes ? 2 : 1;

  explicit ProbabilityBytes(const Softmax& softmax)
      : rounding_(_mm512_set1_epi32(static_cast<int32_t>(softmax.rounding))),
        limit_(kTwoBytes ? _mm512_set1_epi16(INT16_MAX)
                         : _mm512_set1_epi8(static_cast<char>((1 << softmax.frac_bits) - 1))),
        shift_(_mm_cvtsi32_si128(31 - softmax.frac_bits)) {}

  // Those of 64 exponentials, in the order of two packs; of two bytes the upper ones come first.
  void operator()(const int32_t* exponentials, __m512i factor, __m512i (&bytes)[kBytes]) const {
    __m512i p[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i product = _mm512_mullo_epi32(load(exponentials + i * kLanes), factor);
      p[i] = _mm512_srl_epi32(_mm512_add_epi32(product, rounding_), shift_);
    }
    __m512i low = _mm512_packus_epi32(p[0], p[1]);
    __m512i high = _mm512_packus_epi32(p[2], p[3]);
    if constexpr (kTwoBytes) {
      const __m512i low_byte = _mm512_set1_epi16(0xff);
      low = _mm512_min_epu16(low, limit_);
      high = _mm512_min_epu16(high, limit_);
      bytes[0] = _mm512_packus_epi16(_mm512_srli_epi16(low, 8), _mm512_srli_epi16(high, 8));
      bytes[1] = _mm512_packus_epi16(_mm512_and_si512(low, low_byte), _mm512_and_si512(high, low_byte));
    } else {
      bytes[0] = _mm512_min_epu8(_mm512_packus_epi16(low, high), limit_);
    }
  }

 private:
  __m512i rounding_;
  __m512i limit_;
  __m128i shift_;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
