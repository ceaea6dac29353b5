// The scores of deferred normalisation, 16 words at a time: in an image as they come from the product, in a window with
// their bias, and with the least score for keys of other regions. Everything here is compiled for AVX2 and local to the
// file that includes it.
#pragma once

#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// rows.row(query) says what becomes of the scores of the keys from `key` on before their maximum, and which of the
// exponentials stay.
struct ImageRows {
  struct Row {
    __m256i change(int64_t, __m256i scores) const { return scores; }
    __m256i hide(int64_t, __m256i exponentials) const { return exponentials; }
  };
  Row row(int64_t) const { return {}; }
};

// kMixed says whether a window has several regions.
template <bool kMixed>
struct WindowRows {
  struct Row {
    __m256i change(int64_t key, __m256i scores) const {
      const __m256i biased = _mm256_adds_epi16(scores, load(bias + key));
      if constexpr (!kMixed) return biased;
      return _mm256_blendv_epi8(_mm256_set1_epi16(INT16_MIN), biased, visible(key));
    }
    __m256i hide(int64_t key, __m256i exponentials) const {
      if constexpr (!kMixed) return exponentials;
      return _mm256_and_si256(exponentials, visible(key));
    }
    __m256i visible(int64_t key) const {
      return _mm256_cvtepi8_epi16(_mm_cmpeq_epi8(load16(regions + key), _mm_set1_epi8(static_cast<char>(own))));
    }

    const int16_t* bias;
    const uint8_t* regions;
    uint8_t own;
  };

  Row row(int64_t query) const {
    return {attention.bias.row(head, query), regions, kMixed ? regions[query] : uint8_t{0}};
  }

  const DeferredWindowAttention& attention;
  const uint8_t* regions;
  int64_t head;
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
