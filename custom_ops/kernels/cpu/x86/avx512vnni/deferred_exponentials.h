// The exponentials of deferred normalisation, as bytes: scores of 16 bits to distances from their row's maximum, to the
// entries of the table, to exponentials with dither, and their sum.
//
// Scores are words in the order in which bytes unpack. An entry is a byte, and vpermi2b looks up the upper and the
// lower byte of 64 exponentials. Of up to 256 levels, the upper byte is the exponential and the lower one what
// truncation loses: where that and the dither overflow together, the exponential is one more.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/deferred.h"
#include "kernels/common/integer.h"
#include "kernels/cpu/x86/avx512vnni/attention_tile.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/deferred_scores.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

class DeferredExponentials {
 public:
  // Bytes of memory for the dither of a row.
  static constexpr int64_t dither_bytes(int64_t tokens) { return 2 * round_up(tokens, kChunk); }

  DeferredExponentials(const DeferredSoftmax& softmax, int64_t tokens, uint8_t* dither)
      : softmax_(softmax),
        form_(softmax.level_bits <= 8   ? Form::kByte
              : softmax.level_bits < 15 ? Form::kDitheredWord
                                        : Form::kWord),
        last_(round_up(tokens, kChunk) - kChunk),
        last_chunk_(first_bytes(tokens - last_)),
        dither_(dither) {
    // With the largest dither an exponential of this size is still below the number of levels.
    const __m512i limit = _mm512_set1_epi16(static_cast<int16_t>((softmax.levels() - 1) << (15 - softmax.level_bits)));
    const __m128i left = _mm_cvtsi32_si128(form_ == Form::kByte ? softmax.level_bits - 7 : 0);
    const __m512i low_byte = _mm512_set1_epi16(0xff);
    for (int i = 0; i < 4; ++i) {
      __m512i words[2];
      for (int half = 0; half < 2; ++half) {
        const __m512i exponentials = _mm512_loadu_si512(softmax.exponentials + 64 * i + 32 * half);
        words[half] = _mm512_sll_epi16(_mm512_min_epi16(exponentials, limit), left);
      }
      upper_[i] = narrow_words(_mm512_srli_epi16(words[0], 8), _mm512_srli_epi16(words[1], 8));
      lower_[i] = narrow_words(_mm512_and_si512(words[0], low_byte), _mm512_and_si512(words[1], low_byte));
    }
    const __m512i far = _mm512_or_si512(upper_[2], upper_[3]);
    short_ = _mm512_test_epi8_mask(far, far) == 0;
    find_dither();
  }

  bool two_bytes() const { return form_ != Form::kByte; }

  // Six rows of scores, those of queries from `first` on, which are overwritten; the upper bytes of a row's
  // exponentials before the lower ones. `Rows` are of deferred_scores.h.
  template <class Rows>
  void run(const Rows& rows, int64_t first, int64_t count, uint8_t* scores, uint8_t* exponentials,
           int32_t* factors) const {
    switch (form_) {
      case Form::kByte:
        return short_ ? run<Form::kByte, true>(rows, first, count, scores, exponentials, factors)
                      : run<Form::kByte, false>(rows, first, count, scores, exponentials, factors);
      case Form::kDitheredWord:
        return run<Form::kDitheredWord, false>(rows, first, count, scores, exponentials, factors);
      case Form::kWord:
        return short_ ? run<Form::kWord, true>(rows, first, count, scores, exponentials, factors)
                      : run<Form::kWord, false>(rows, first, count, scores, exponentials, factors);
    }
  }

 private:
  enum class Form { kByte, kDitheredWord, kWord };

  // Of bytes, how much the lower byte of an exponential must exceed to become one more; of words, two registers of them
  // for 64 tokens.
  void find_dither() const {
    if (form_ == Form::kWord) return;
    const __m512i all = _mm512_set1_epi8(-1);
    alignas(64) int8_t places[64];
    for (int i = 0; i < 64; ++i) places[i] = static_cast<int8_t>(i);
    const __m512i place = load(places);
    const __m512i zero = _mm512_setzero_si512();
    const __m512i tokens[2] = {_mm512_unpacklo_epi8(place, zero), _mm512_unpackhi_epi8(place, zero)};
    const __m128i right = _mm_cvtsi32_si128(softmax_.level_bits);
    const __m128i left = _mm_cvtsi32_si128(softmax_.level_bits - 7);
    for (int64_t token = 0; token <= last_; token += kChunk) {
      __m512i words[2];
      for (int half = 0; half < 2; ++half) {
        const __m512i number = _mm512_add_epi16(tokens[half], _mm512_set1_epi16(static_cast<int16_t>(token)));
        const __m512i product = _mm512_mullo_epi16(number, _mm512_set1_epi16(kDither));
        words[half] = _mm512_srl_epi16(_mm512_and_si512(product, _mm512_set1_epi16(INT16_MAX)), right);
      }
      if (form_ == Form::kByte) {
        const __m512i bytes = _mm512_packus_epi16(_mm512_sll_epi16(words[0], left), _mm512_sll_epi16(words[1], left));
        _mm512_store_si512(dither_ + token, _mm512_xor_si512(bytes, all));
      } else {
        _mm512_store_si512(dither_ + 2 * token, words[0]);
        _mm512_store_si512(dither_ + 2 * token + kChunk, words[1]);
      }
    }
  }

  template <Form kForm, bool kShort, class Rows>
  void run(const Rows& rows, int64_t first, int64_t count, uint8_t* all_scores, uint8_t* exponentials,
           int32_t* factors) const {
    constexpr int64_t kBytes = kForm == Form::kByte ? 1 : 2;
    const int64_t stride = last_ + kChunk;
    __m512i largest[kScoreRows];
    for (int64_t row = 0; row < count; ++row) {
      largest[row] = row_max(rows.row(first + row), all_scores + 2 * row * stride);
    }
    const __m512i multiplier = _mm512_set1_epi16(static_cast<int16_t>(softmax_.distance_multiplier));
    const ByteTable upper_table(upper_[0], upper_[1], upper_[2], upper_[3]);
    const ByteTable lower_table(lower_[0], lower_[1], lower_[2], lower_[3]);
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i last_one = _mm512_maskz_mov_epi8(last_chunk_, one);
    const __m128i right = _mm_cvtsi32_si128(15 - softmax_.level_bits);
    __m512i sums[2][4] = {};
    for (int64_t row = 0; row < count; ++row) {
      const auto of_row = rows.row(first + row);
      const uint8_t* scores = all_scores + 2 * row * stride;
      uint8_t* target = exponentials + kBytes * row * stride;
      __m512i sum = _mm512_setzero_si512();
      __m512i lower_sum = sum;
      const auto take = [&](int64_t token, __m512i valid) {
        const __m512i words[2] = {distance(largest[row], scores + 2 * token),
                                  distance(largest[row], scores + 2 * token + kChunk)};
        const __m512i entry =
            _mm512_packus_epi16(_mm512_mulhrs_epi16(words[0], multiplier), _mm512_mulhrs_epi16(words[1], multiplier));
        const __mmask64 far = _mm512_movepi8_mask(entry);
        __m512i upper;
        if constexpr (kShort) {
          upper = _mm512_maskz_permutex2var_epi8(_knot_mask64(far), upper_[0], entry, upper_[1]);
        } else {
          upper = upper_table(entry, far);
        }
        __m512i lower = lower_table(entry, far);
        if constexpr (kForm == Form::kByte) {
          upper = _mm512_mask_add_epi8(upper, _mm512_cmpgt_epu8_mask(lower, load(dither_ + token)), upper, one);
        } else if constexpr (kForm == Form::kDitheredWord) {
          const __m512i even = dithered(_mm512_unpacklo_epi8(lower, upper), 2 * token, right);
          const __m512i odd = dithered(_mm512_unpackhi_epi8(lower, upper), 2 * token + kChunk, right);
          const __m512i low_byte = _mm512_set1_epi16(0xff);
          upper = _mm512_packus_epi16(_mm512_srli_epi16(even, 8), _mm512_srli_epi16(odd, 8));
          lower = _mm512_packus_epi16(_mm512_and_si512(even, low_byte), _mm512_and_si512(odd, low_byte));
        }
        upper = of_row.hide(token, upper);
        _mm512_store_si512(target + token, upper);
        sum = _mm512_dpbusd_epi32(sum, upper, valid);
        if constexpr (kBytes == 2) {
          lower = of_row.hide(token, lower);
          _mm512_store_si512(target + stride + token, lower);
          lower_sum = _mm512_dpbusd_epi32(lower_sum, lower, valid);
        }
      };
      for (int64_t token = 0; token < last_; token += kChunk) take(token, one);
      take(last_, last_one);
      sums[row / 4][row % 4] = kBytes == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum, 8), lower_sum) : sum;
    }
    alignas(16) int32_t row_sums[8];
    for (int four = 0; four < 2; ++four) {
      _mm_store_si128(reinterpret_cast<__m128i*>(row_sums) + four, add_lanes(sums[four]));
    }
    for (int64_t row = 0; row < count; ++row) factors[row] = softmax_.factor(row_sums[row]);
  }

  // The largest score of a row, in all words. Keys past the end have the least score.
  template <class Row>
  __m512i row_max(const Row& row, uint8_t* scores) const {
    const __m512i least = _mm512_set1_epi16(INT16_MIN);
    __m512i largest[2] = {least, least};
    for (int64_t token = 0; token <= last_; token += kChunk) {
      uint8_t* words = scores + 2 * token;
      __m512i pair[2] = {load(words), load(words + kChunk)};
      if constexpr (Row::kChanges) {
        row.change(token, pair);
        _mm512_store_si512(words, pair[0]);
        _mm512_store_si512(words + kChunk, pair[1]);
      }
      for (int half = 0; half < 2; ++half) largest[half] = _mm512_max_epi16(largest[half], pair[half]);
    }
    return max_word(_mm512_max_epi16(largest[0], largest[1]));
  }

  static __m512i distance(__m512i largest, const uint8_t* scores) { return _mm512_subs_epi16(largest, load(scores)); }

  __m512i dithered(__m512i words, int64_t at, __m128i right) const {
    return _mm512_srl_epi16(_mm512_add_epi16(words, load(dither_ + at)), right);
  }

  const DeferredSoftmax softmax_;
  const Form form_;
  const int64_t last_;  // the first token of the last chunk
  const __mmask64 last_chunk_;
  uint8_t* const dither_;
  bool short_;  // whether the upper bytes of the table's second half are zeros
  __m512i upper_[4];
  __m512i lower_[4];
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
