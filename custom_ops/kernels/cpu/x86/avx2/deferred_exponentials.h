// The exponentials of deferred normalisation: 16 scores at a time to distances from their row's maximum, to the entries
// of the table, to exponentials with dither, and their sum. Everything here is compiled for AVX2 and local to the file
// that includes it.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/common/deferred.h"
#include "kernels/common/integer.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/x86/avx2/tile.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// Words by number. Each stands in the last two of eight bytes that are zeros otherwise, so that the eight bytes from
// there on, or from two, four or six bytes before, have it in one of four places.
class WordTable {
 public:
  void assign(int64_t number, int16_t word) {
    std::memset(bytes_ + kEntry * number, 0, kEntry);
    std::memcpy(bytes_ + kEntry * number + kWord, &word, sizeof word);
  }

  // Those of 16 numbers.
  __m256i operator()(const int16_t* numbers) const {
    return _mm256_setr_epi64x(four(numbers), four(numbers + 4), four(numbers + 8), four(numbers + 12));
  }

 private:
  static constexpr int64_t kEntry = 8;
  static constexpr int64_t kWord = 6;

  int64_t four(const int16_t* numbers) const {
    return at<0>(numbers) | at<1>(numbers) | at<2>(numbers) | at<3>(numbers);
  }

  template <int kPlace>
  int64_t at(const int16_t* numbers) const {
    int64_t value;
    std::memcpy(&value, bytes_ + kEntry * numbers[kPlace] + kWord - 2 * kPlace, sizeof value);
    return value;
  }

  uint8_t bytes_[kEntry * kDeferredEntries + kWord] = {};
};

class DeferredExponentials {
 public:
  DeferredExponentials(const DeferredSoftmax& softmax, int64_t tokens)
      : softmax_(softmax),
        tokens_(tokens),
        right_(_mm_cvtsi32_si128(15 - softmax.level_bits)),
        score_shift_(_mm_cvtsi32_si128(softmax.score_shift)),
        last_(_mm256_cmpgt_epi16(_mm256_set1_epi16(static_cast<int16_t>((tokens - 1) % kTileColumns + 1)), places())),
        dither_(round_up(tokens, kTileColumns)),
        entries_(round_up(tokens, kTileColumns)) {
    // With the largest dither an exponential of this size is still below the number of levels.
    const auto limit = static_cast<int16_t>((softmax.levels() - 1) << (15 - softmax.level_bits));
    for (int64_t i = 0; i < kDeferredEntries; ++i) table_.assign(i, std::min(softmax.exponentials[i], limit));
    const __m128i left = _mm_cvtsi32_si128(softmax.level_bits);
    for (int64_t t = 0; t < tokens; t += kTileColumns) {
      const __m256i token = _mm256_add_epi16(_mm256_set1_epi16(static_cast<int16_t>(t)), places());
      const __m256i product = _mm256_mullo_epi16(token, _mm256_set1_epi16(kDither));
      store(dither_.get() + t, _mm256_srl_epi16(_mm256_and_si256(product, _mm256_set1_epi16(INT16_MAX)), left));
    }
  }

  // Of one row of products, in the order of tiles; `Row` is of deferred_scores.h. Returns the factor of the row.
  template <class Values, class Row>
  int32_t run(const int32_t* products, const Row& row, uint8_t* exponentials) const {
    const __m256i largest = row_max(products, row);
    const __m256i multiplier = _mm256_set1_epi16(static_cast<int16_t>(softmax_.distance_multiplier));
    const __m256i most = _mm256_set1_epi16(kDeferredEntries - 1);
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const __m256i distance = _mm256_subs_epi16(largest, load(entries_.get() + t));
      store(entries_.get() + t, _mm256_min_epi16(_mm256_mulhrs_epi16(distance, multiplier), most));
    }
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const __m256i dithered = _mm256_add_epi16(table_(entries_.get() + t), load(dither_.get() + t));
      __m256i values = row.hide(t, _mm256_srl_epi16(dithered, right_));
      if (t + kTileColumns > tokens_) values = _mm256_and_si256(values, last_);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(values, one));
      Values::store_probabilities(exponentials, t, values);
    }
    return softmax_.factor(add_lanes(sum));
  }

 private:
  static __m256i places() { return _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

  // The largest score of a row, in all words; leaves the scores. Past the end they are the least one.
  template <class Row>
  __m256i row_max(const int32_t* products, const Row& row) const {
    const __m256i least = _mm256_set1_epi16(INT16_MIN);
    __m256i largest = least;
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const Pair shifted{_mm256_sra_epi32(load(products + t), score_shift_),
                         _mm256_sra_epi32(load(products + t + 8), score_shift_)};
      __m256i scores = row.change(t, pack(shifted));
      if (t + kTileColumns > tokens_) scores = _mm256_blendv_epi8(least, scores, last_);
      store(entries_.get() + t, scores);
      largest = _mm256_max_epi16(largest, scores);
    }
    return max_word(largest);
  }

  const DeferredSoftmax softmax_;
  const int64_t tokens_;
  const __m128i right_;
  const __m128i score_shift_;
  const __m256i last_;  // the words of the last sixteen that are tokens
  WordTable table_;
  const AlignedArray<int16_t> dither_;
  const AlignedArray<int16_t> entries_;  // scores at first
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
