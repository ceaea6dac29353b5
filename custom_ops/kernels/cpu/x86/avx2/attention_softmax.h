// The softmax of one row of scores. Everything here is compiled for AVX2 and local to the file that includes it.
#pragma once

#include <algorithm>

#include "kernels/common/integer.h"
#include "kernels/common/softmax.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/x86/avx2/tile.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// A mask says what becomes of the scores from `token` on, 32 of them, before their maximum is looked for, and of their
// exponentials, 8 of them, before they are summed. With this one every score counts.
struct AllVisible {
  static constexpr bool kHides = false;
  __m256i hide(__m256i scores, int64_t) const { return scores; }
  __m256i exponentials(__m256i values, int64_t) const { return values; }
};

// Scores count where regions[token] is that of the query.
struct SameRegion {
  static constexpr bool kHides = true;

  SameRegion(const uint8_t* token_regions, int64_t query, const Softmax& softmax)
      : regions(token_regions),
        own(_mm256_set1_epi8(static_cast<char>(token_regions[query]))),
        masked(_mm256_set1_epi32(softmax.masked)) {}

  __m256i hide(__m256i scores, int64_t token) const {
    return _mm256_blendv_epi8(_mm256_set1_epi8(INT8_MIN), scores, _mm256_cmpeq_epi8(load(regions + token), own));
  }

  __m256i exponentials(__m256i values, int64_t token) const {
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(regions + token));
    const __m128i visible = _mm_cmpeq_epi8(eight, _mm256_castsi256_si128(own));
    return _mm256_blendv_epi8(masked, values, _mm256_cvtepi8_epi32(visible));
  }

  const uint8_t* regions;
  __m256i own;
  __m256i masked;
};

class RowSoftmax {
 public:
  RowSoftmax(const Softmax& softmax, int64_t tokens)
      : softmax_(softmax),
        tokens_(tokens),
        rounding_(_mm256_set1_epi32(static_cast<int32_t>(softmax.rounding))),
        shift_(_mm_cvtsi32_si128(31 - softmax.frac_bits)),
        limit_(_mm256_set1_epi32((1 << softmax.frac_bits) - 1)),
        last_(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>((tokens - 1) % 8 + 1)),
                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
        exponentials_(round_up(tokens, kTileColumns)) {
    for (int d = 0; d < kScoreDistances; ++d) table_[255 - d] = softmax.exponentials[d];
    std::fill_n(exponentials_.get(), round_up(tokens, kTileColumns), 0);
  }

  // `scores` has room up to a multiple of 32.
  template <class Values, class Mask>
  void run(int8_t* scores, const Mask& mask, uint8_t* probabilities) const {
    const int32_t* from_max = table_ + 255 - row_max(scores, mask);
    // Faster than a gather. Two sums of 64-bit lanes, for even tokens and for odd ones.
    const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF);
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (int64_t t = 0; t < tokens_; t += 8) {
      const int8_t* s = scores + t;
      __m256i e = _mm256_setr_epi32(from_max[s[0]], from_max[s[1]], from_max[s[2]], from_max[s[3]], from_max[s[4]],
                                    from_max[s[5]], from_max[s[6]], from_max[s[7]]);
      e = mask.exponentials(e, t);
      if (t + 8 > tokens_) e = _mm256_and_si256(e, last_);
      store(&exponentials_[t], e);
      even = _mm256_add_epi64(even, _mm256_and_si256(e, low_half));
      odd = _mm256_add_epi64(odd, _mm256_srli_epi64(e, 32));
    }
    const int64_t sum = add_lanes64(_mm256_add_epi64(even, odd));
    const __m256i factor = _mm256_set1_epi32(static_cast<int32_t>(softmax_.factor(sum)));
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const __m256i interleaved = pack({probability(t, factor), probability(t + 8, factor)});
      Values::store_probabilities(probabilities, t, _mm256_permute4x64_epi64(interleaved, 0xD8));
    }
  }

 private:
  // Leaves the least score where the mask hides one, so that no distance from the maximum is negative.
  template <class Mask>
  int row_max(int8_t* scores, const Mask& mask) const {
    const int64_t padded = round_up(tokens_, 32);
    std::fill(scores + tokens_, scores + padded, INT8_MIN);
    __m256i largest = _mm256_set1_epi8(INT8_MIN);
    for (int64_t t = 0; t < padded; t += 32) {
      const __m256i visible = mask.hide(load(scores + t), t);
      if constexpr (Mask::kHides) store(scores + t, visible);
      largest = _mm256_max_epi8(largest, visible);
    }
    return max_byte(largest);
  }

  __m256i probability(int64_t t, __m256i factor) const {
    // 32 bits are enough, unsigned.
    const __m256i scaled = _mm256_add_epi32(_mm256_mullo_epi32(load(exponentials_.get() + t), factor), rounding_);
    return _mm256_min_epi32(_mm256_srl_epi32(scaled, shift_), limit_);
  }

  const Softmax& softmax_;
  int64_t tokens_;
  __m256i rounding_;
  __m128i shift_;
  __m256i limit_;
  __m256i last_;
  int32_t table_[kScoreDistances];
  AlignedArray<int32_t> exponentials_;
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
