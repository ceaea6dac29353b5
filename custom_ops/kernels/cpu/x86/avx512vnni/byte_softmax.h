// The softmax of six rows of scores, in bytes: for one row everything depends on the distance of a score from the row
// maximum, 0..255. The exponentials are summed one byte at a time: vpermi2b looks up byte b of 64 of them, vpdpbusd
// adds them up, and the sums are put together at the end. With the reciprocal F known, the probabilities of all
// distances are computed first. A second look-up takes the row from distances to probabilities.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/common/softmax.h"
#include "kernels/cpu/x86/avx512vnni/attention_probability.h"
#include "kernels/cpu/x86/avx512vnni/attention_tile.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/sizes.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

class ByteSoftmax {
 public:
  ByteSoftmax(const Softmax& softmax, int64_t tokens)
      : softmax_(softmax),
        tokens_(tokens),
        row_stride_(round_up(tokens, kChunk)),
        last_chunk_(first_bytes(tokens - (row_stride_ - kChunk))) {
    std::copy_n(softmax.exponentials, kScoreDistances, exponentials_);
    // With rounding, half a step is enough for a probability.
    const int bits = softmax.frac_bits + (softmax.rounding == 0 ? 0 : 1);
    const int32_t largest = exponentials_[0];
    // The sum is at least the largest value, so that smaller ones than this become 0 whatever the row.
    const __m512i least = _mm512_set1_epi32((largest >> bits) + (largest % (1 << bits) != 0));
    for (int64_t i = 0; i < kScoreDistances; i += kLanes) {
      const __m512i value = load(exponentials_ + i);
      for (int b = 0; b < 4; ++b) {
        const __m512i shifted = _mm512_srl_epi32(value, _mm_cvtsi32_si128(8 * b));
        _mm_store_si128(reinterpret_cast<__m128i*>(planes_[b] + i), _mm512_cvtepi32_epi8(shifted));
      }
      if (_mm512_cmpge_epi32_mask(value, least) != 0) reach_ = i + kLanes;
    }
  }

  // Bytes between two rows of scores, or of bytes of probabilities.
  int64_t row_stride() const { return row_stride_; }

  // `scores` are overwritten. For two bytes, a row has two rows of probabilities, that of upper bytes first.
  template <bool kTwoBytes>
  void run(uint8_t* scores, uint8_t* probabilities) const {
    uint32_t factors[kScoreRows];
    if (!softmax_.sums_fit(tokens_) || exponentials_[0] >= 1 << 24) {
      find_factors<4>(scores, factors);
    } else if (exponentials_[0] >= 1 << 16) {
      find_factors<3>(scores, factors);
    } else {
      find_factors<2>(scores, factors);
    }
    if (reach_ <= kScoreDistances / 2) {
      find_probabilities<kTwoBytes, 2>(scores, factors, probabilities);
    } else {
      find_probabilities<kTwoBytes, 4>(scores, factors, probabilities);
    }
  }

 private:
  // The largest score of a row, in all bytes.
  __m512i row_max(const uint8_t* scores) const {
    const int64_t last = row_stride_ - kChunk;
    __m512i bytes = _mm512_mask_loadu_epi8(_mm512_set1_epi8(INT8_MIN), last_chunk_, scores + last);
    for (int64_t token = 0; token < last; token += kChunk) bytes = _mm512_max_epi8(bytes, load(scores + token));
    return _mm512_broadcastb_epi8(max_byte(bytes));
  }

  // Scores become distances from their row's maximum; the factors are numerator / (sum of the exponentials). If no
  // sum reaches 2^31, three bytes are enough for exponentials below 2^24, two for those below 2^16.
  template <int kPlanes>
  void find_factors(uint8_t* all_scores, uint32_t* factors) const {
    __m512i largest[kScoreRows];
    for (int64_t row = 0; row < kScoreRows; ++row) largest[row] = row_max(all_scores + row * row_stride_);
    const ByteTable planes[4] = {ByteTable(planes_[0]), ByteTable(planes_[1]), ByteTable(planes_[2]),
                                 ByteTable(planes_[3])};
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i last_one = _mm512_maskz_mov_epi8(last_chunk_, one);
    alignas(64) int32_t sums[kScoreRows][kLanes];
    for (int64_t row = 0; row < kScoreRows; ++row) {
      uint8_t* scores = all_scores + row * row_stride_;
      __m512i sum0 = _mm512_setzero_si512();
      __m512i sum1 = sum0;
      __m512i sum2 = sum0;
      __m512i sum3 = sum0;
      const auto add = [&](int64_t token, __m512i valid) {
        const __m512i distance = _mm512_sub_epi8(largest[row], load(scores + token));
        _mm512_store_si512(scores + token, distance);
        const __mmask64 upper = _mm512_movepi8_mask(distance);
        sum0 = _mm512_dpbusd_epi32(sum0, planes[0](distance, upper), valid);
        sum1 = _mm512_dpbusd_epi32(sum1, planes[1](distance, upper), valid);
        if constexpr (kPlanes > 2) sum2 = _mm512_dpbusd_epi32(sum2, planes[2](distance, upper), valid);
        if constexpr (kPlanes > 3) sum3 = _mm512_dpbusd_epi32(sum3, planes[3](distance, upper), valid);
      };
      const int64_t last = row_stride_ - kChunk;
      for (int64_t token = 0; token < last; token += kChunk) add(token, one);
      add(last, last_one);
      if constexpr (kPlanes > 3) {
        const int64_t sum = _mm512_reduce_add_epi32(sum0) + int64_t{_mm512_reduce_add_epi32(sum1)} * (1 << 8) +
                            int64_t{_mm512_reduce_add_epi32(sum2)} * (1 << 16) +
                            int64_t{_mm512_reduce_add_epi32(sum3)} * (1 << 24);
        factors[row] = softmax_.factor(sum);
      } else {
        _mm512_store_si512(sums[row], _mm512_add_epi32(_mm512_add_epi32(sum0, _mm512_slli_epi32(sum1, 8)),
                                                       _mm512_slli_epi32(sum2, 16)));
      }
    }
    if constexpr (kPlanes < 4) {
      for (int64_t row = 0; row < kScoreRows; ++row) {
        factors[row] = softmax_.factor(_mm512_reduce_add_epi32(load(sums[row])));
      }
    }
  }

  // Distances to probabilities; those of 64 * kParts and more are 0.
  template <bool kTwoBytes, int kParts>
  void find_probabilities(const uint8_t* all_distances, const uint32_t* factors, uint8_t* all_probabilities) const {
    const ProbabilityBytes<kTwoBytes> probability_bytes(softmax_);
    constexpr int kBytes = ProbabilityBytes<kTwoBytes>::kBytes;
    for (int64_t row = 0; row < kScoreRows; ++row) {
      const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(factors[row]));
      __m512i tables[kBytes][4];
      for (int part = 0; part < kParts; ++part) {
        __m512i bytes[kBytes];
        probability_bytes(exponentials_ + 64 * part, factor, bytes);
        for (int byte = 0; byte < kBytes; ++byte) tables[byte][part] = natural_order(bytes[byte]);
      }
      const uint8_t* distances = all_distances + row * row_stride_;
      for (int byte = 0; byte < kBytes; ++byte) {
        uint8_t* probabilities = all_probabilities + (kBytes * row + byte) * row_stride_;
        const __m512i* table = tables[byte];
        for (int64_t token = 0; token < tokens_; token += kChunk) {
          const __m512i distance = load(distances + token);
          const __mmask64 upper = _mm512_movepi8_mask(distance);
          __m512i result;
          if constexpr (kParts == 4) {
            result = ByteTable(table[0], table[1], table[2], table[3])(distance, upper);
          } else {
            result = _mm512_maskz_permutex2var_epi8(_knot_mask64(upper), table[0], distance, table[1]);
          }
          _mm512_store_si512(probabilities + token, result);
        }
      }
    }
  }

  const Softmax& softmax_;
  const int64_t tokens_;
  const int64_t row_stride_;
  const __mmask64 last_chunk_;
  // By distance from the row maximum, and their bytes.
  alignas(64) int32_t exponentials_[kScoreDistances];
  alignas(64) uint8_t planes_[4][kScoreDistances];
  // Only distances below this one can have a probability above 0.
  int64_t reach_ = 0;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
