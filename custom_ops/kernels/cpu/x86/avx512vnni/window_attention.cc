// Attention inside a window with AVX-512: one head of a window from front to back, all of it in the nearest cache.
//
// Scores are bytes. What each becomes at the scale of biased scores, 16 bits, is looked up; then its bias is added with
// saturation and the result packed to bytes again. The exponentials of the distances from the row maximum are looked
// up byte by byte and put together in 32-bit lanes, whose order is undone when the probabilities are packed.
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx512vnni/attention_pack.h"
#include "kernels/cpu/x86/avx512vnni/attention_probability.h"
#include "kernels/cpu/x86/avx512vnni/attention_tile.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/window_steps.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

class Head {
 public:
  Head(const Window& window, const WindowAttention& attention, int64_t head)
      : tokens_(window, attention, head),
        regions_(window.regions),
        attention_(attention),
        head_(head),
        places_(tokens_.count),
        keys_(places_, tokens_.head_dim),
        steps_(places_, tokens_.head_dim, attention.softmax.frac_bits > 8),
        last_chunk_(first_bytes(places_ - (steps_.row_stride - kChunk))) {}

  void attend(const HeadScales& scales) {
    for (int64_t place = 0; place < places_; ++place) {
      load_query(tokens_.query(place), tokens_.head_dim, steps_.queries + place * kMostDim);
    }
    keys_.pack(tokens_, steps_.keys, steps_.key_starts);
    pack_values(tokens_, steps_.values);
    score(UniformScale(scales.score));
    // The bytes of an exponential that matter.
    const int32_t largest = std::max(attention_.softmax.exponentials[0], attention_.softmax.masked);
    if (largest < 1 << 16) {
      exponentiate<2>();
    } else if (largest < 1 << 24) {
      exponentiate<3>();
    } else {
      exponentiate<4>();
    }
    find_factors();
    if (attention_.softmax.frac_bits > 8) {
      find_probabilities<true>();
      mix<true>(scales.context);
    } else {
      find_probabilities<false>();
      mix<false>(scales.context);
    }
  }

 private:
  void score(const UniformScale& scale) {
    keys_.for_chunks([&](int64_t key, int64_t registers, const Columns& columns, const int32_t* starts) {
      for (int64_t row = 0; row < places_; row += kScoreRows) {
        score_bytes(registers, scale, {steps_.queries + row * kMostDim, kMostDim}, columns, starts,
                    steps_.scores + row * steps_.row_stride + key, steps_.row_stride);
      }
    });
  }

  template <int kPlanes>
  void exponentiate() {
    regions_ == nullptr ? exponentiate<kPlanes, false>() : exponentiate<kPlanes, true>();
  }

  // Scores to biased scores to exponentials and their sums.
  template <int kPlanes, bool kMixed>
  void exponentiate() {
    const BiasedScores& biased = attention_.biased;
    const ByteTable low_table(biased.scaled_bytes(0));
    const ByteTable high_table(biased.scaled_bytes(1));
    const int64_t last = steps_.row_stride - kChunk;
    // First bias and maxima, then exponentials, so that each half keeps its tables in registers.
    for (int64_t row = 0; row < places_; ++row) {
      uint8_t* const scores = steps_.scores + row * steps_.row_stride;
      const int16_t* const bias = biased.bias(head_, row);
      __m512i largest = _mm512_set1_epi8(INT8_MIN);
      for (int64_t key = 0; key <= last; key += kChunk) {
        const __m512i score = load(scores + key);
        const __mmask64 upper = _mm512_movepi8_mask(score);
        const __m512i low = low_table(score, upper);
        const __m512i high = high_table(score, upper);
        const __m512i first = load(bias + key);
        const __m512i second = load(bias + key + 32);
        const __m512i words0 =
            _mm512_adds_epi16(_mm512_unpacklo_epi8(low, high), _mm512_shuffle_i32x4(first, second, 0x88));
        const __m512i words1 =
            _mm512_adds_epi16(_mm512_unpackhi_epi8(low, high), _mm512_shuffle_i32x4(first, second, 0xdd));
        const __m512i bytes = _mm512_packs_epi16(words0, words1);
        _mm512_store_si512(scores + key, bytes);
        const __mmask64 visible = kMixed ? same_region(row, key) : key == last ? last_chunk_ : ~__mmask64{0};
        largest = _mm512_mask_max_epi8(largest, visible, largest, bytes);
      }
      _mm_storeu_si16(steps_.sums + row, max_byte(largest));
    }
    const WindowSoftmax& softmax = attention_.softmax;
    const ByteTable planes[4] = {ByteTable(softmax.bytes[0]), ByteTable(softmax.bytes[1]), ByteTable(softmax.bytes[2]),
                                 ByteTable(softmax.bytes[3])};
    for (int64_t row = 0; row < places_; ++row) {
      const uint8_t* const scores = steps_.scores + row * steps_.row_stride;
      int32_t* const target = steps_.exponentials + row * steps_.row_stride;
      const __m512i largest = _mm512_set1_epi8(static_cast<char>(steps_.sums[row]));
      __m512i sum = _mm512_setzero_si512();
      for (int64_t key = 0; key <= last; key += kChunk) {
        const __m512i distance = _mm512_sub_epi8(largest, load(scores + key));
        const __mmask64 upper = _mm512_movepi8_mask(distance);
        const __mmask64 valid = key == last ? last_chunk_ : ~__mmask64{0};
        const __mmask64 visible = kMixed ? same_region(row, key) : valid;
        __m512i bytes[4];
#pragma GCC unroll 4
        for (int plane = 0; plane < kPlanes; ++plane) {
          bytes[plane] = _mm512_maskz_mov_epi8(visible, planes[plane](distance, upper));
          if constexpr (kMixed) {
            const char masked = static_cast<char>(softmax.masked >> (8 * plane));
            bytes[plane] = _mm512_mask_mov_epi8(bytes[plane], valid & ~visible, _mm512_set1_epi8(masked));
          }
        }
        for (int plane = kPlanes; plane < 4; ++plane) bytes[plane] = _mm512_setzero_si512();
        const __m512i low0 = _mm512_unpacklo_epi8(bytes[0], bytes[1]);
        const __m512i low1 = _mm512_unpackhi_epi8(bytes[0], bytes[1]);
        const __m512i high0 = _mm512_unpacklo_epi8(bytes[2], bytes[3]);
        const __m512i high1 = _mm512_unpackhi_epi8(bytes[2], bytes[3]);
        const __m512i all[4] = {_mm512_unpacklo_epi16(low0, high0), _mm512_unpackhi_epi16(low0, high0),
                                _mm512_unpacklo_epi16(low1, high1), _mm512_unpackhi_epi16(low1, high1)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) _mm512_store_si512(target + key + i * kLanes, all[i]);
        sum =
            _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_add_epi32(all[0], all[1]), _mm512_add_epi32(all[2], all[3])));
      }
      steps_.sums[row] = _mm512_reduce_add_epi32(sum);
    }
  }

  // Which of 64 keys a query sees.
  __mmask64 same_region(int64_t query_place, int64_t key) const {
    const __mmask64 valid = first_bytes(places_ - key);
    const __m512i regions = _mm512_maskz_loadu_epi8(valid, regions_ + key);
    const __m512i own = _mm512_set1_epi8(static_cast<char>(regions_[query_place]));
    return _mm512_mask_cmpeq_epi8_mask(valid, regions, own);
  }

  // floor(numerator / sum): what is not an integer is further from the next one than a double is rounded.
  void find_factors() {
    const __m512d numerator = _mm512_set1_pd(attention_.softmax.numerator);
    for (int64_t row = 0; row < places_; row += 8) {
      const __m256i sums = _mm256_load_si256(reinterpret_cast<const __m256i*>(steps_.sums + row));
      const __m512d quotients = _mm512_div_pd(numerator, _mm512_cvtepi32_pd(sums));
      _mm256_store_si256(reinterpret_cast<__m256i*>(steps_.factors + row), _mm512_cvttpd_epu32(quotients));
    }
  }

  template <bool kTwoBytes>
  void find_probabilities() {
    const ProbabilityBytes<kTwoBytes> probability_bytes(attention_.softmax);
    constexpr int kBytes = ProbabilityBytes<kTwoBytes>::kBytes;
    for (int64_t row = 0; row < places_; ++row) {
      const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(steps_.factors[row]));
      const int32_t* const exponentials = steps_.exponentials + row * steps_.row_stride;
      uint8_t* const target = steps_.probabilities + kBytes * row * steps_.row_stride;
      for (int64_t key = 0; key < places_; key += kChunk) {
        __m512i bytes[kBytes];
        probability_bytes(exponentials + key, factor, bytes);
        for (int byte = 0; byte < kBytes; ++byte) {
          _mm512_store_si512(target + byte * steps_.row_stride + key, bytes[byte]);
        }
      }
    }
  }

  template <bool kTwoBytes>
  void mix(const LaneScales* scales) {
    switch (steps_.value_registers) {
      case 1:
        return mix<kTwoBytes, 12, 1>(scales);
      case 2:
        return mix<kTwoBytes, 12, 2>(scales);
      case 3:
        return mix<kTwoBytes, 6, 3>(scales);
      default:
        return mix<kTwoBytes, 6, 4>(scales);
    }
  }

  // Probabilities times values, R rows of bytes at a time.
  template <bool kTwoBytes, int R, int C>
  void mix(const LaneScales* scales) {
    constexpr int64_t kBytes = kTwoBytes ? 2 : 1;
    const Columns values{steps_.values, C * kLanes * kGroup, steps_.value_groups};
    constexpr int64_t kQueries = R / kBytes;
    for (int64_t first = 0; first < places_; first += kQueries) {
      int8_t* contexts[kQueries];
      for (int64_t row = 0; row < kQueries; ++row) {
        contexts[row] = first + row < places_ ? tokens_.context(first + row) : nullptr;
      }
      context_tile<kTwoBytes, R, C>({steps_.probabilities + first * kBytes * steps_.row_stride, steps_.row_stride},
                                    values, RequantizedContext{scales}, first_bytes(tokens_.head_dim), contexts);
    }
  }

  const WindowTokens tokens_;
  const uint8_t* const regions_;
  const WindowAttention& attention_;
  const int64_t head_;
  const int64_t places_;
  Keys keys_;
  Steps steps_;
  const __mmask64 last_chunk_;
};

}  // namespace

void attend_window(const Window& window, const WindowAttention& attention, int64_t head) {
  const int64_t dim = attention.head_dim;
  const int64_t places = attention.grid.area();
  if (dim <= kMostDim && attention.biased.narrow() && attention.softmax.sums_fit(places)) {
    LaneScales memory[kMostDim / kLanes];
    const HeadScales scales(attention, head, nullptr, memory);
    if (scales.fit(places, attention.softmax)) return Head(window, attention, head).attend(scales);
  }
  generic::attend_window(window, attention, head);
}

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
