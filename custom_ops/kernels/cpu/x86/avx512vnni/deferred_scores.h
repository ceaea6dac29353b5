// The scores of deferred normalisation: words, in an image as they come from the product, in a window with their bias,
// and with the least score for keys of other regions.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// For score_tile: two registers of words in the order in which the bytes of 64 scores unpack. Without a key it is the
// least score.
struct WordScores {
  template <int C>
  void store(__m512i (&sums)[4], uint8_t* y) const {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sums[c] = c < C ? _mm512_sra_epi32(sums[c], shift) : _mm512_set1_epi32(INT32_MIN);
    __m512i first = _mm512_packs_epi32(sums[0], sums[1]);
    __m512i second = _mm512_packs_epi32(sums[2], sums[3]);
    if constexpr (C < 4) {
      const __m512i low = _mm512_permutex2var_epi64(first, _mm512_set_epi64(11, 9, 10, 8, 3, 1, 2, 0), second);
      second = _mm512_permutex2var_epi64(first, _mm512_set_epi64(15, 13, 14, 12, 7, 5, 6, 4), second);
      first = low;
    }
    _mm512_store_si512(y, first);
    _mm512_store_si512(y + kChunk, second);
  }

  __m128i shift;
};

// Rows of an image: rows.row(query) says what becomes of the words of 64 keys before their maximum, and which of the
// exponentials stay.
struct ImageRows {
  struct Row {
    static constexpr bool kChanges = false;
    __m512i hide(int64_t, __m512i exponentials) const { return exponentials; }
  };
  Row row(int64_t) const { return {}; }
};

// Those of a window; kMixed says whether it has several regions.
template <bool kMixed>
class WindowRows {
 public:
  class Row {
   public:
    static constexpr bool kChanges = true;

    void change(int64_t key, __m512i (&words)[2]) const {
      const __m512i first = load(bias + key);
      const __m512i second = load(bias + key + 32);
      words[0] = _mm512_adds_epi16(words[0], _mm512_shuffle_i32x4(first, second, 0x88));
      words[1] = _mm512_adds_epi16(words[1], _mm512_shuffle_i32x4(first, second, 0xdd));
      if constexpr (kMixed) {
        const __m512i visible = _mm512_movm_epi8(same_region(key));
        words[0] = or_least(words[0], _mm512_unpacklo_epi8(visible, visible));
        words[1] = or_least(words[1], _mm512_unpackhi_epi8(visible, visible));
      }
    }

    __m512i hide(int64_t key, __m512i exponentials) const {
      if constexpr (kMixed) return _mm512_maskz_mov_epi8(same_region(key), exponentials);
      return exponentials;
    }

    const int16_t* bias;
    const uint8_t* regions;
    uint8_t own;

   private:
    __mmask64 same_region(int64_t key) const {
      return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(regions + key), _mm512_set1_epi8(static_cast<char>(own)));
    }
    // The words that are visible, the least one for others.
    static __m512i or_least(__m512i words, __m512i visible) {
      constexpr int kWhereVisible = 0xe4;
      return _mm512_ternarylogic_epi64(words, _mm512_set1_epi16(INT16_MIN), visible, kWhereVisible);
    }
  };

  WindowRows(const DeferredWindowAttention& attention, const uint8_t* regions, int64_t head)
      : bias_(attention.bias), regions_(regions), head_(head) {}

  Row row(int64_t query) const { return {bias_.row(head_, query), regions_, kMixed ? regions_[query] : uint8_t{0}}; }

 private:
  const RelativePositionBias& bias_;
  const uint8_t* const regions_;
  const int64_t head_;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
