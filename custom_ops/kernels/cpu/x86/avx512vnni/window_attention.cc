// Attention inside a window with AVX-512: one head of a window from front to back, all of it in the nearest cache.
//
// Both products run on vpdpbusd: rows of unsigned bytes (queries + 128, probabilities) times up to 64 columns (keys,
// values) packed [inner / 4][columns][4]. The accumulators of the scores start at -128 * (sum of the key).
//
// Scores are bytes. What each becomes at the scale of placed scores, 16 bits, is looked up; then its bias is added with
// saturation and the result packed to bytes again. The exponentials of the distances from the row maximum are looked
// up byte by byte and put together in 32-bit lanes, whose order is undone when the probabilities are packed.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/x86/avx512vnni/attention_steps.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kGroup = 4;
constexpr int64_t kChunk = 64;
// Rows of a tile and of the memory before and behind it are multiples of this.
constexpr int64_t kMostRows = 12;
constexpr int64_t kMostDim = 64;

// R rows of unsigned bytes, `stride` apart, times C * 16 columns of `groups` fours; store(row, accumulators).
template <int R, int C, class Store>
inline __attribute__((always_inline)) void tile(const uint8_t* rows, int64_t stride, const int8_t* columns,
                                                int64_t groups, const int32_t* starts, const Store& store) {
  __m512i sums[R][C];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = starts == nullptr ? _mm512_setzero_si512() : load(starts + c * kLanes);
  }
  for (int64_t group = 0; group < groups; ++group) {
    __m512i column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) column[c] = load(columns + c * kLanes * kGroup);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      int32_t four;
      std::memcpy(&four, rows + r * stride, sizeof four);
      const __m512i broadcast = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) IVIT_DOT(sums[r][c], broadcast, column[c]);
    }
    columns += C * kLanes * kGroup;
    rows += kGroup;
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) store(r, sums[r]);
}

// Scores requantised to int8: 64 bytes a row, however many columns there are.
template <int C>
[[gnu::noinline]] void score_tile(const uint8_t* rows, int64_t stride, const int8_t* columns, int64_t groups,
                                  const int32_t* starts, const NarrowScale& scale, uint8_t* y, int64_t y_stride) {
  const __m512i multiplier = _mm512_set1_epi32(scale.multiplier);
  const __m512i rounding = _mm512_set1_epi32(scale.rounding);
  const __m128i pre_shift = _mm_cvtsi32_si128(scale.pre_shift);
  const __m128i post_shift = _mm_cvtsi32_si128(scale.post_shift);
  const bool shifted = scale.pre_shift != 0;
  tile<6, C>(rows, stride, columns, groups, starts, [&](int row, const __m512i* sums) {
    __m512i scores[4] = {};
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const __m512i sum = shifted ? _mm512_sll_epi32(sums[c], pre_shift) : sums[c];
      const __m512i high = multiply_high(sum, multiplier, multiplier);
      scores[c] = _mm512_sra_epi32(_mm512_add_epi32(high, rounding), post_shift);
    }
    const __m512i low = _mm512_packs_epi32(scores[0], scores[1]);
    const __m512i high = _mm512_packs_epi32(scores[2], scores[3]);
    _mm512_store_si512(y + row * y_stride, natural_order(_mm512_packs_epi16(low, high)));
  });
}

// Memory for the steps of one head of a window.
struct Steps {
  Steps(int64_t places, int64_t dim, bool two_bytes)
      : row_stride(round_up(places, kChunk)),
        rows(round_up(places, kMostRows)),
        key_groups(divide_up(dim, kGroup)),
        value_groups(divide_up(places, kGroup)),
        value_registers(divide_up(dim, kLanes)) {
    const int64_t probabilities_size = rows * (two_bytes ? 2 : 1) * row_stride;
    thread_local Scratch<uint8_t> memory;
    const int64_t keys_size = key_groups * row_stride * kGroup;
    const int64_t values_size = value_groups * value_registers * 64;
    uint8_t* at = memory.get(rows * kMostDim + keys_size + row_stride * 4 + values_size + rows * row_stride * 5 +
                             probabilities_size + (rows + kLanes) * 8 + 9 * 64);
    const auto take = [&at](int64_t bytes) {
      uint8_t* taken = at;
      at += round_up(bytes, 64);
      return taken;
    };
    queries = take(rows * kMostDim);
    keys = reinterpret_cast<int8_t*>(take(keys_size));
    key_starts = reinterpret_cast<int32_t*>(take(row_stride * 4));
    values = reinterpret_cast<int8_t*>(take(values_size));
    scores = take(rows * row_stride);
    exponentials = reinterpret_cast<uint32_t*>(take(rows * row_stride * 4));
    probabilities = take(probabilities_size);
    sums = reinterpret_cast<int32_t*>(take(round_up(rows, kLanes) * 4));
    factors = reinterpret_cast<uint32_t*>(take(round_up(rows, kLanes) * 4));
  }

  const int64_t row_stride;  // of a row of scores
  const int64_t rows;
  const int64_t key_groups;
  const int64_t value_groups;
  const int64_t value_registers;
  uint8_t* queries;  // [places][64], + 128
  int8_t* keys;      // [chunks][head_dim / 4][registers of the chunk][16][4]
  int32_t* key_starts;
  int8_t* values;          // [places / 4][registers][16][4]
  uint8_t* scores;         // and then the placed scores
  uint32_t* exponentials;  // in the order of unpacked bytes
  uint8_t* probabilities;  // of two bytes the upper ones come first
  int32_t* sums;
  uint32_t* factors;
};

class Head {
 public:
  Head(const Window& window, const WindowAttention& attention, int64_t head)
      : window_(window),
        attention_(attention),
        head_(head),
        places_(attention.grid.area()),
        dim_(attention.head_dim),
        channels_(attention.heads * attention.head_dim),
        steps_(places_, dim_, attention.softmax.frac_bits > 8),
        last_chunk_(first_bytes(places_ - (steps_.row_stride - kChunk))) {}

  void attend(const NarrowScale& score_scale, const ContextScale* context_scales) {
    load_queries();
    pack_keys();
    pack_values();
    score(score_scale);
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
      mix<true>(context_scales);
    } else {
      find_probabilities<false>();
      mix<false>(context_scales);
    }
  }

 private:
  const int8_t* query(int64_t place) const { return window_.qkv[place] + head_ * dim_; }

  void load_queries() {
    const __mmask64 mask = first_bytes(dim_);
    for (int64_t place = 0; place < places_; ++place) {
      const __m512i bytes = _mm512_maskz_loadu_epi8(mask, query(place));
      _mm512_store_si512(steps_.queries + place * kMostDim, _mm512_xor_si512(bytes, _mm512_set1_epi8(INT8_MIN)));
    }
  }

  // Registers of 16 keys in the chunk of 64 that begins at `key`.
  int64_t registers(int64_t key) const { return std::min<int64_t>(4, divide_up(places_ - key, kLanes)); }

  void pack_keys() {
    int8_t* packed = steps_.keys;
    for (int64_t key = 0; key < places_; key += kChunk) {
      const int64_t width = registers(key);
      for (int64_t i = 0; i < width; ++i) {
        pack_keys(key + i * kLanes, packed + i * kLanes * kGroup, width * kLanes * kGroup);
      }
      packed += steps_.key_groups * width * kLanes * kGroup;
    }
  }

  // 16 keys x 64 bytes: a transposition of 16 x 16 groups of four bytes.
  void pack_keys(int64_t first, int8_t* packed, int64_t packed_stride) {
    const __mmask64 mask = first_bytes(dim_);
    __m512i a[16];
    __m512i b[16];
    for (int64_t i = 0; i < 16; ++i) {
      a[i] = first + i < places_ ? _mm512_maskz_loadu_epi8(mask, query(first + i) + channels_) : _mm512_setzero_si512();
    }
    transpose_keys(a, b);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t group = 0; group < steps_.key_groups; ++group) {
      _mm512_store_si512(packed + group * packed_stride, b[group]);
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(INT8_MIN), b[group]);
    }
    _mm512_store_si512(steps_.key_starts + first, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }

  // Four places x 16 channels at a time.
  void pack_values() {
    const InterleaveValues interleave;
    int8_t* packed = steps_.values;
    for (int64_t place = 0; place < places_; place += kGroup) {
      for (int64_t d = 0; d < dim_; d += kLanes) {
        const auto mask = static_cast<__mmask16>(first_bytes(std::min<int64_t>(kLanes, dim_ - d)));
        // Places past the end are zero.
        const auto row = [&](int64_t i) {
          if (place + i >= places_) return _mm_setzero_si128();
          return _mm_maskz_loadu_epi8(mask, query(place + i) + 2 * channels_ + d);
        };
        const __m512i values = interleave(row(0), row(1), row(2), row(3));
        _mm512_store_si512(packed, values);
        packed += 64;
      }
    }
  }

  void score(const NarrowScale& scale) {
    constexpr int64_t kRows = 6;
    const int8_t* columns = steps_.keys;
    for (int64_t key = 0; key < places_; key += kChunk) {
      const int64_t width = registers(key);
      constexpr decltype(&score_tile<1>) kTiles[] = {score_tile<1>, score_tile<2>, score_tile<3>, score_tile<4>};
      for (int64_t row = 0; row < places_; row += kRows) {
        kTiles[width - 1](steps_.queries + row * kMostDim, kMostDim, columns, steps_.key_groups,
                          steps_.key_starts + key, scale, steps_.scores + row * steps_.row_stride + key,
                          steps_.row_stride);
      }
      columns += steps_.key_groups * width * kLanes * kGroup;
    }
  }

  template <int kPlanes>
  void exponentiate() {
    window_.regions == nullptr ? exponentiate<kPlanes, false>() : exponentiate<kPlanes, true>();
  }

  // Scores to placed scores to exponentials and their sums.
  template <int kPlanes, bool kMixed>
  void exponentiate() {
    const PlacedScores& placed = attention_.placed;
    const ByteTable low_table(placed.scaled_bytes(0));
    const ByteTable high_table(placed.scaled_bytes(1));
    const int64_t last = steps_.row_stride - kChunk;
    // First bias and maxima, then exponentials, so that each half keeps its tables in registers.
    for (int64_t row = 0; row < places_; ++row) {
      uint8_t* const scores = steps_.scores + row * steps_.row_stride;
      const int16_t* const bias = placed.bias(head_, row);
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
      _mm_storeu_si16(steps_.sums + row, max_bytes(largest));
    }
    const WindowSoftmax& softmax = attention_.softmax;
    const ByteTable planes[4] = {ByteTable(softmax.bytes[0]), ByteTable(softmax.bytes[1]), ByteTable(softmax.bytes[2]),
                                 ByteTable(softmax.bytes[3])};
    for (int64_t row = 0; row < places_; ++row) {
      const uint8_t* const scores = steps_.scores + row * steps_.row_stride;
      uint32_t* const target = steps_.exponentials + row * steps_.row_stride;
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
    const __m512i regions = _mm512_maskz_loadu_epi8(valid, window_.regions + key);
    const __m512i own = _mm512_set1_epi8(static_cast<char>(window_.regions[query_place]));
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
    const int frac_bits = attention_.softmax.frac_bits;
    const __m512i limit =
        kTwoBytes ? _mm512_set1_epi16(INT16_MAX) : _mm512_set1_epi8(static_cast<char>((1 << frac_bits) - 1));
    const __m512i low_byte = _mm512_set1_epi16(0xff);
    const __m512i rounding = _mm512_set1_epi32(static_cast<int32_t>(attention_.softmax.rounding));
    const __m128i shift = _mm_cvtsi32_si128(31 - frac_bits);
    for (int64_t row = 0; row < places_; ++row) {
      const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(steps_.factors[row]));
      const uint32_t* const exponentials = steps_.exponentials + row * steps_.row_stride;
      uint8_t* const target = steps_.probabilities + (kTwoBytes ? 2 : 1) * row * steps_.row_stride;
      for (int64_t key = 0; key < places_; key += kChunk) {
        // E * F + rounding is at most 2^31.
        __m512i p[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const __m512i product = _mm512_mullo_epi32(load(exponentials + key + i * kLanes), factor);
          p[i] = _mm512_srl_epi32(_mm512_add_epi32(product, rounding), shift);
        }
        __m512i low = _mm512_packus_epi32(p[0], p[1]);
        __m512i high = _mm512_packus_epi32(p[2], p[3]);
        if constexpr (kTwoBytes) {
          low = _mm512_min_epu16(low, limit);
          high = _mm512_min_epu16(high, limit);
          _mm512_store_si512(target + key, _mm512_packus_epi16(_mm512_srli_epi16(low, 8), _mm512_srli_epi16(high, 8)));
          _mm512_store_si512(target + steps_.row_stride + key,
                             _mm512_packus_epi16(_mm512_and_si512(low, low_byte), _mm512_and_si512(high, low_byte)));
        } else {
          _mm512_store_si512(target + key, _mm512_min_epu8(_mm512_packus_epi16(low, high), limit));
        }
      }
    }
  }

  template <bool kTwoBytes>
  void mix(const ContextScale* scales) {
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
  [[gnu::noinline]] void mix(const ContextScale* scales) {
    constexpr int64_t kQueries = kTwoBytes ? R / 2 : R;
    const __mmask64 mask = first_bytes(dim_);
    for (int64_t first = 0; first < places_; first += kQueries) {
      const auto finish = [&](int64_t place, const __m512i* sums) {
        if (place >= places_ || window_.y[place] == nullptr) return;
        __m512i context[4] = {};
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) context[c] = scales[c].requantize(sums[c]);
        const __m512i low = _mm512_packs_epi32(context[0], context[1]);
        const __m512i high = _mm512_packs_epi32(context[2], context[3]);
        _mm512_mask_storeu_epi8(window_.y[place] + head_ * dim_, mask, natural_order(_mm512_packs_epi16(low, high)));
      };
      const uint8_t* const rows = steps_.probabilities + first * (kTwoBytes ? 2 : 1) * steps_.row_stride;
      __m512i upper[C];
      tile<R, C>(rows, steps_.row_stride, steps_.values, steps_.value_groups, nullptr,
                 [&](int row, const __m512i* sums) {
                   if constexpr (kTwoBytes) {
                     __m512i joined[C];
#pragma GCC unroll 4
                     for (int c = 0; c < C; ++c) {
                       if (row % 2 == 0) upper[c] = _mm512_slli_epi32(sums[c], 8);
                       joined[c] = _mm512_add_epi32(upper[c], sums[c]);
                     }
                     if (row % 2 == 1) finish(first + row / 2, joined);
                   } else {
                     finish(first + row, sums);
                   }
                 });
    }
  }

  const Window& window_;
  const WindowAttention& attention_;
  const int64_t head_;
  const int64_t places_;
  const int64_t dim_;
  const int64_t channels_;
  Steps steps_;
  const __mmask64 last_chunk_;
};

}  // namespace

void attend_window(const Window& window, const WindowAttention& attention, int64_t head) {
  const int64_t dim = attention.head_dim;
  const int64_t places = attention.grid.area();
  const WindowSoftmax& softmax = attention.softmax;
  const NarrowScale score_scale(attention.score_scale);
  alignas(64) unsigned char memory[4 * sizeof(ContextScale)];
  auto* const context_scales = reinterpret_cast<ContextScale*>(memory);
  int32_t largest_pre_shift = 0;
  const bool fits = dim <= kMostDim && attention.placed.narrow() && softmax.sums_fit(places);
  for (int64_t d = 0; fits && d < dim; d += kLanes) {
    auto* const scale =
        new (context_scales + d / kLanes) ContextScale(attention.context_scale.from(head * dim + d), dim - d);
    largest_pre_shift = std::max(largest_pre_shift, scale->largest_pre_shift);
  }
  // Whether 32-bit lanes are enough.
  if (!fits || !has_room(dim << 14, score_scale.pre_shift) ||
      !has_room(softmax.largest_sum(places) << 7, largest_pre_shift)) {
    return generic::attend_window(window, attention, head);
  }
  Head(window, attention, head).attend(score_scale, context_scales);
}

}  // namespace ivit::cpu::avx512vnni

#undef IVIT_DOT
#include "kernels/cpu/target_end.h"
