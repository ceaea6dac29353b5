// Attention with AVX-512: six queries at a time go from scores to context.
//
// Both products run on vpdpbusd, which multiplies unsigned by signed bytes and takes four at a time: six rows of
// unsigned bytes (queries + 128, probabilities) times up to 64 columns (keys, values) packed [inner / 4][columns][4].
// The accumulators of the scores start at -128 * (sum of the key).
//
// The softmax in bytes: for one row everything depends on the distance of a score from the row maximum, 0..255. The
// exponentials are summed one byte at a time: vpermi2b looks up byte b of 64 of them, vpdpbusd adds them up, and the
// sums are put together at the end. With the reciprocal F known, the probabilities of all distances are computed
// first, min((E * F + rounding) >> (31 - frac_bits), 2^frac_bits - 1), for which 32-bit lanes do.
// A second look-up takes the row from distances to probabilities. With frac_bits = 15 a probability is two bytes and
// has two rows, which share the values in the second product.
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
#include "kernels/cpu/x86/avx512vnni/vector.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kQueries = 6;
constexpr int64_t kLanes = 16;
constexpr int64_t kGroup = 4;
// Tokens whose scores fill a register as bytes.
constexpr int64_t kChunk = 64;
constexpr int64_t kDistances = kScoreDistances;

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

// Six rows of unsigned bytes, `stride` apart, times C * 16 packed columns. The accumulators start at `starts`, at zero
// if that is null, and go to `store` row by row, or for Store::kPairs 256 * (an even row) + (the next row).
template <int C, class Store>
[[gnu::noinline]] void tile(const uint8_t* rows, int64_t stride, const int8_t* columns, int64_t columns_stride,
                            int64_t groups, const int32_t* starts, const Store& store) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i b0 = starts == nullptr ? zero : load(starts);
  const __m512i b1 = C < 2 || starts == nullptr ? zero : load(starts + kLanes);
  const __m512i b2 = C < 3 || starts == nullptr ? zero : load(starts + 2 * kLanes);
  const __m512i b3 = C < 4 || starts == nullptr ? zero : load(starts + 3 * kLanes);
#define IVIT_START(r) __m512i s##r##0 = b0, s##r##1 = b1, s##r##2 = b2, s##r##3 = b3;
  IVIT_FOR_ROWS(IVIT_START)
#undef IVIT_START
  for (int64_t group = 0; group < groups; ++group) {
    const __m512i c0 = load(columns);
    const __m512i c1 = C < 2 ? zero : load(columns + 64);
    const __m512i c2 = C < 3 ? zero : load(columns + 128);
    const __m512i c3 = C < 4 ? zero : load(columns + 192);
#define IVIT_MULTIPLY(r)                                   \
  {                                                        \
    int32_t four;                                          \
    std::memcpy(&four, rows + r * stride, sizeof four);    \
    const __m512i broadcast = _mm512_set1_epi32(four);     \
    IVIT_DOT(s##r##0, broadcast, c0);                      \
    if constexpr (C > 1) IVIT_DOT(s##r##1, broadcast, c1); \
    if constexpr (C > 2) IVIT_DOT(s##r##2, broadcast, c2); \
    if constexpr (C > 3) IVIT_DOT(s##r##3, broadcast, c3); \
  }
    IVIT_FOR_ROWS(IVIT_MULTIPLY)
#undef IVIT_MULTIPLY
    columns += columns_stride;
    rows += kGroup;
  }
  if constexpr (Store::kPairs) {
#define IVIT_JOIN(high, low) _mm512_add_epi32(_mm512_slli_epi32(high, 8), low)
    store.template operator()<C>(0, IVIT_JOIN(s00, s10), IVIT_JOIN(s01, s11), IVIT_JOIN(s02, s12), IVIT_JOIN(s03, s13));
    store.template operator()<C>(1, IVIT_JOIN(s20, s30), IVIT_JOIN(s21, s31), IVIT_JOIN(s22, s32), IVIT_JOIN(s23, s33));
    store.template operator()<C>(2, IVIT_JOIN(s40, s50), IVIT_JOIN(s41, s51), IVIT_JOIN(s42, s52), IVIT_JOIN(s43, s53));
#undef IVIT_JOIN
  } else {
#define IVIT_STORE(r) store.template operator()<C>(r, s##r##0, s##r##1, s##r##2, s##r##3);
    IVIT_FOR_ROWS(IVIT_STORE)
#undef IVIT_STORE
  }
}

template <class Store>
void tile_of(int64_t registers, const uint8_t* rows, int64_t stride, const int8_t* columns, int64_t columns_stride,
             int64_t groups, const int32_t* starts, const Store& store) {
  switch (registers) {
    case 1:
      return tile<1>(rows, stride, columns, columns_stride, groups, starts, store);
    case 2:
      return tile<2>(rows, stride, columns, columns_stride, groups, starts, store);
    case 3:
      return tile<3>(rows, stride, columns, columns_stride, groups, starts, store);
    default:
      return tile<4>(rows, stride, columns, columns_stride, groups, starts, store);
  }
}

// Scores requantised to int8. Every row takes 64 bytes, however many columns there are.
template <bool kPreShift>
struct ScoreStore {
  static constexpr bool kPairs = false;

  ScoreStore(const NarrowScale& scale, uint8_t* target, int64_t target_stride)
      : multiplier(_mm512_set1_epi32(scale.multiplier)),
        rounding(_mm512_set1_epi32(scale.rounding)),
        pre_shift(_mm_cvtsi32_si128(scale.pre_shift)),
        post_shift(_mm_cvtsi32_si128(scale.post_shift)),
        y(target),
        stride(target_stride) {}

  __m512i requantize(__m512i sum) const {
    const __m512i shifted = kPreShift ? _mm512_sll_epi32(sum, pre_shift) : sum;
    return _mm512_sra_epi32(_mm512_add_epi32(multiply_high(shifted, multiplier, multiplier), rounding), post_shift);
  }

  template <int C>
  void operator()(int row, __m512i s0, __m512i s1, __m512i s2, __m512i s3) const {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = _mm512_packs_epi32(requantize(s0), C > 1 ? requantize(s1) : zero);
    const __m512i high = C > 2 ? _mm512_packs_epi32(requantize(s2), C > 3 ? requantize(s3) : zero) : zero;
    _mm512_storeu_si512(y + row * stride, natural_order(_mm512_packs_epi16(low, high)));
  }

  __m512i multiplier;
  __m512i rounding;
  __m128i pre_shift;
  __m128i post_shift;
  uint8_t* y;
  int64_t stride;
};

// The context of `count` queries: `channels` bytes each, 64 at most.
template <bool kTwoBytes>
struct ContextStore {
  static constexpr bool kPairs = kTwoBytes;

  template <int C>
  void operator()(int row, __m512i s0, __m512i s1, __m512i s2, __m512i s3) const {
    if (row >= count) return;
    const __m512i zero = _mm512_setzero_si512();
    const __m512i low = _mm512_packs_epi32(scales[0].requantize(s0), C > 1 ? scales[1].requantize(s1) : zero);
    const __m512i high =
        C > 2 ? _mm512_packs_epi32(scales[2].requantize(s2), C > 3 ? scales[3].requantize(s3) : zero) : zero;
    _mm512_mask_storeu_epi8(y + row * stride, channels, natural_order(_mm512_packs_epi16(low, high)));
  }

  const ContextScale* scales;
  __mmask64 channels;
  int64_t count;
  int8_t* y;
  int64_t stride;
};

// Memory that a thread keeps from task to task, handed out at chosen places of the span of 4096 bytes: a load that has
// the last 12 bits of its address in common with a store still under way waits for it. What products read starts at
// place 0; what is stored just before, or between two of them, stands half a span away.
class Scratch {
 public:
  static constexpr int64_t kSpan = 4096;

  // Makes room for `spans` and begins anew.
  void reset(int64_t spans) {
    if (spans > spans_) {
      memory_ = AlignedArray<uint8_t>((spans + 1) * kSpan);
      spans_ = spans;
    }
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    next_ = memory_.get() + (kSpan - address % kSpan) % kSpan;
  }
  // Memory for `count` elements from `place` of a new span on.
  template <class T>
  T* take(int64_t count, int64_t place) {
    T* taken = reinterpret_cast<T*>(next_ + place);
    next_ += spans_of<T>(count, place) * kSpan;
    return taken;
  }
  template <class T>
  static constexpr int64_t spans_of(int64_t count, int64_t place) {
    return divide_up(place + count * static_cast<int64_t>(sizeof(T)), kSpan);
  }

 private:
  AlignedArray<uint8_t> memory_;
  uint8_t* next_ = nullptr;
  int64_t spans_ = 0;
};

// The exponential by distance from the row maximum, and its bytes.
struct Exponentials {
  explicit Exponentials(const Softmax& softmax) {
    std::copy_n(softmax.exponentials, kDistances, values);
    // With rounding, half a step is enough for a probability.
    const int bits = softmax.frac_bits + (softmax.rounding == 0 ? 0 : 1);
    for (int64_t i = 0; i < kDistances; i += kLanes) {
      const __m512i value = load(values + i);
      _mm_store_si128(reinterpret_cast<__m128i*>(planes[0] + i), _mm512_cvtepi32_epi8(value));
      _mm_store_si128(reinterpret_cast<__m128i*>(planes[1] + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(value, 8)));
      _mm_store_si128(reinterpret_cast<__m128i*>(planes[2] + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(value, 16)));
      _mm_store_si128(reinterpret_cast<__m128i*>(planes[3] + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(value, 24)));
      // The sum is at least the largest value, so that smaller ones than this become 0 whatever the row.
      const __m512i least = _mm512_set1_epi32((values[0] >> bits) + (values[0] % (1 << bits) != 0));
      if (_mm512_cmpge_epi32_mask(value, least) != 0) reach = i + kLanes;
    }
  }

  alignas(64) int32_t values[kDistances];
  alignas(64) uint8_t planes[4][kDistances];
  // Only distances below this one can have a probability above 0.
  int64_t reach = 0;
};

// One task: the packed keys and values of a head, and what six queries need on their way.
class Head {
 public:
  Head(const int8_t* qkv, const Attention& attention, int64_t head, int8_t* y, Scratch& scratch)
      : attention_(attention),
        tokens_(attention.tokens),
        dim_(attention.head_dim),
        channels_(attention.heads * dim_),
        query_(qkv + head * dim_),
        y_(y + head * dim_),
        key_groups_(divide_up(dim_, kGroup)),
        value_groups_(divide_up(tokens_, kGroup)),
        key_columns_(round_up(tokens_, kLanes)),
        value_columns_(round_up(dim_, kLanes)),
        query_stride_(round_up(dim_, kChunk)),
        row_stride_(round_up(tokens_, kChunk)),
        pieces_(key_columns_ / kLanes, divide_up(key_columns_, kChunk), 1),
        piece_bytes_(round_up(key_groups_ * kChunk * kGroup, Scratch::kSpan)),
        last_chunk_(first_bytes(tokens_ - (row_stride_ - kChunk))),
        score_scale_(attention.score_scale),
        exponentials_(attention.softmax) {
    const int64_t keys = pieces_.count() * piece_bytes_;
    const int64_t values = value_groups_ * value_columns_ * kGroup;
    const int64_t scales = value_columns_ / kLanes;
    constexpr int64_t kHalfSpan = Scratch::kSpan / 2;
    scratch.reset(Scratch::spans_of<int8_t>(keys, 0) + Scratch::spans_of<int8_t>(values, 0) +
                  Scratch::spans_of<uint8_t>(kQueries * row_stride_, kHalfSpan) +
                  Scratch::spans_of<uint8_t>(2 * kQueries * row_stride_, kHalfSpan) +
                  Scratch::spans_of<uint8_t>(kQueries * query_stride_, kHalfSpan) +
                  Scratch::spans_of<int32_t>(key_columns_, 0) + Scratch::spans_of<ContextScale>(scales, 0));
    keys_ = scratch.take<int8_t>(keys, 0);
    values_ = scratch.take<int8_t>(values, 0);
    scores_ = scratch.take<uint8_t>(kQueries * row_stride_, kHalfSpan);
    probabilities_ = scratch.take<uint8_t>(2 * kQueries * row_stride_, kHalfSpan);
    queries_ = scratch.take<uint8_t>(kQueries * query_stride_, kHalfSpan);
    key_starts_ = scratch.take<int32_t>(key_columns_, 0);
    context_scales_ = scratch.take<ContextScale>(scales, 0);
    for (int64_t i = 0; i < scales; ++i) {
      new (context_scales_ + i) ContextScale(attention.context_scale.from(head * dim_ + i * kLanes), dim_ - i * kLanes);
      largest_pre_shift_ = std::max(largest_pre_shift_, context_scales_[i].largest_pre_shift);
    }
    std::fill_n(queries_, kQueries * query_stride_, uint8_t{0});
  }

  // Whether 32-bit lanes are enough for both requantisations.
  bool narrow() const {
    return has_room(dim_ << 14, score_scale_.pre_shift) &&
           has_room(attention_.softmax.largest_sum(tokens_) << 7, largest_pre_shift_);
  }

  void pack() {
    pack_keys();
    pack_values();
  }

  // Queries [first, first + count), count <= 6.
  void attend(int64_t first, int64_t count) {
    load_queries(first, count);
    if (score_scale_.pre_shift == 0) {
      score<false>();
    } else {
      score<true>();
    }
    uint32_t factors[kQueries];
    if (!attention_.softmax.sums_fit(tokens_) || exponentials_.values[0] >= 1 << 24) {
      find_factors<4>(factors);
    } else if (exponentials_.values[0] >= 1 << 16) {
      find_factors<3>(factors);
    } else {
      find_factors<2>(factors);
    }
    const bool two_bytes = attention_.softmax.frac_bits > 8;
    if (exponentials_.reach <= kDistances / 2) {
      two_bytes ? find_probabilities<true, 2>(factors) : find_probabilities<false, 2>(factors);
    } else {
      two_bytes ? find_probabilities<true, 4>(factors) : find_probabilities<false, 4>(factors);
    }
    int8_t* y = y_ + first * channels_;
    if (two_bytes) {
      constexpr int64_t kHalf = kQueries / 2;
      mix<true>(probabilities_, std::min(count, kHalf), y);
      if (count > kHalf) {
        mix<true>(probabilities_ + kQueries * row_stride_, count - kHalf, y + kHalf * channels_);
      }
    } else {
      mix<false>(probabilities_, count, y);
    }
  }

 private:
  // 16 tokens x 64 bytes at a time: a transposition of 16 x 16 groups of four bytes. The registers of a piece stand
  // together, [groups][registers], so that its tile reads from front to back.
  void pack_keys() {
    for (int64_t piece = 0; piece < pieces_.count(); ++piece) {
      const int64_t width = pieces_.end(piece) - pieces_.begin(piece);
      for (int64_t i = 0; i < width; ++i) {
        const int64_t token = (pieces_.begin(piece) + i) * kLanes;
        pack_keys(token, keys_of(piece) + i * kLanes * kGroup, width * kLanes * kGroup);
      }
    }
  }

  int8_t* keys_of(int64_t piece) const { return keys_ + piece * piece_bytes_; }

  void pack_keys(int64_t token, int8_t* packed, int64_t packed_stride) {
    const __m512i minus_128 = _mm512_set1_epi8(INT8_MIN);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t d = 0; d < dim_; d += 64) {
      const __mmask64 mask = first_bytes(dim_ - d);
      const int8_t* key = query_ + token * 3 * channels_ + channels_ + d;
      __m512i a[16];
      __m512i b[16];
      for (int64_t i = 0; i < 16; ++i) {
        a[i] = token + i < tokens_ ? _mm512_maskz_loadu_epi8(mask, key + i * 3 * channels_) : _mm512_setzero_si512();
      }
      transpose_keys(a, b);
      const int64_t groups = std::min<int64_t>(16, key_groups_ - d / kGroup);
      for (int64_t group = 0; group < groups; ++group) {
        _mm512_store_si512(packed, b[group]);
        packed += packed_stride;
        sum = _mm512_dpbusd_epi32(sum, minus_128, b[group]);
      }
    }
    _mm512_store_si512(key_starts_ + token, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }

  // Four tokens x 16 channels at a time.
  void pack_values() {
    const InterleaveValues interleave;
    const int64_t stride = 3 * channels_;
    for (int64_t d = 0; d < dim_; d += kLanes) {
      const auto mask = static_cast<__mmask16>(first_bytes(std::min<int64_t>(kLanes, dim_ - d)));
      const int8_t* value = query_ + 2 * channels_ + d;
      int8_t* packed = values_ + d * kGroup;
      for (int64_t token = 0; token < tokens_; token += kGroup) {
        const int64_t left = tokens_ - token;
        // Tokens past the end are zero.
        const __mmask16 mask1 = left > 1 ? mask : 0;
        const __mmask16 mask2 = left > 2 ? mask : 0;
        const __mmask16 mask3 = left > 3 ? mask : 0;
        const __m512i values = interleave(
            _mm_maskz_loadu_epi8(mask, value), _mm_maskz_loadu_epi8(mask1, value + stride),
            _mm_maskz_loadu_epi8(mask2, value + 2 * stride), _mm_maskz_loadu_epi8(mask3, value + 3 * stride));
        _mm512_store_si512(packed, values);
        value += kGroup * stride;
        packed += value_columns_ * kGroup;
      }
    }
  }

  // Queries + 128; rows from `count` on keep what they had. Queries are far apart: those after the next are fetched.
  void load_queries(int64_t first, int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = query_ + (first + row) * 3 * channels_;
      __builtin_prefetch(query + 2 * kQueries * 3 * channels_);
      for (int64_t d = 0; d < dim_; d += 64) {
        const __m512i bytes = _mm512_maskz_loadu_epi8(first_bytes(dim_ - d), query + d);
        _mm512_store_si512(queries_ + row * query_stride_ + d, _mm512_xor_si512(bytes, _mm512_set1_epi8(INT8_MIN)));
      }
    }
  }

  template <bool kPreShift>
  void score() {
    for (int64_t piece = 0; piece < pieces_.count(); ++piece) {
      const int64_t token = pieces_.begin(piece) * kLanes;
      const int64_t width = pieces_.end(piece) - pieces_.begin(piece);
      // What a piece stores past its end is overwritten by the next one.
      const ScoreStore<kPreShift> store(score_scale_, scores_ + token, row_stride_);
      tile_of(width, queries_, query_stride_, keys_of(piece), width * kLanes * kGroup, key_groups_, key_starts_ + token,
              store);
    }
  }

  // The largest score of a row, in all bytes.
  __m512i row_max(const uint8_t* scores) const {
    const int64_t last = row_stride_ - kChunk;
    __m512i bytes = _mm512_mask_loadu_epi8(_mm512_set1_epi8(INT8_MIN), last_chunk_, scores + last);
    for (int64_t token = 0; token < last; token += kChunk) bytes = _mm512_max_epi8(bytes, load(scores + token));
    return _mm512_broadcastb_epi8(max_bytes(bytes));
  }

  // Scores become distances from their row's maximum; the factors are numerator / (sum of the exponentials). If no
  // sum reaches 2^31, three bytes are enough for exponentials below 2^24, two for those below 2^16.
  template <int kPlanes>
  void find_factors(uint32_t* factors) {
    __m512i largest[kQueries];
    for (int64_t row = 0; row < kQueries; ++row) largest[row] = row_max(scores_ + row * row_stride_);
    const ByteTable planes[4] = {ByteTable(exponentials_.planes[0]), ByteTable(exponentials_.planes[1]),
                                 ByteTable(exponentials_.planes[2]), ByteTable(exponentials_.planes[3])};
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i last_one = _mm512_maskz_mov_epi8(last_chunk_, one);
    alignas(64) int32_t sums[kQueries][kLanes];
    for (int64_t row = 0; row < kQueries; ++row) {
      uint8_t* scores = scores_ + row * row_stride_;
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
        factors[row] = attention_.softmax.factor(sum);
      } else {
        _mm512_store_si512(sums[row], _mm512_add_epi32(_mm512_add_epi32(sum0, _mm512_slli_epi32(sum1, 8)),
                                                       _mm512_slli_epi32(sum2, 16)));
      }
    }
    if constexpr (kPlanes < 4) {
      for (int64_t row = 0; row < kQueries; ++row) {
        factors[row] = attention_.softmax.factor(_mm512_reduce_add_epi32(load(sums[row])));
      }
    }
  }

  // 16 probabilities, not yet limited.
  __m512i probability(int64_t distance, __m512i factor, __m128i shift) const {
    const __m512i rounding = _mm512_set1_epi32(static_cast<int32_t>(attention_.softmax.rounding));
    const __m512i product = _mm512_mullo_epi32(load(exponentials_.values + distance), factor);
    return _mm512_srl_epi32(_mm512_add_epi32(product, rounding), shift);
  }

  // Distances to probabilities; those of 64 * kParts and more are 0.
  template <bool kTwoBytes, int kParts>
  void find_probabilities(const uint32_t* factors) {
    const int frac_bits = attention_.softmax.frac_bits;
    const __m512i limit =
        kTwoBytes ? _mm512_set1_epi16(INT16_MAX) : _mm512_set1_epi8(static_cast<char>((1 << frac_bits) - 1));
    const __m512i low_byte = _mm512_set1_epi16(0xff);
    const __m128i shift = _mm_cvtsi32_si128(31 - frac_bits);
    for (int64_t row = 0; row < kQueries; ++row) {
      const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(factors[row]));
      // Of two bytes the upper ones come first.
      __m512i parts[2][4];
      for (int part = 0; part < kParts; ++part) {
        __m512i low =
            _mm512_packus_epi32(probability(64 * part, factor, shift), probability(64 * part + 16, factor, shift));
        __m512i high =
            _mm512_packus_epi32(probability(64 * part + 32, factor, shift), probability(64 * part + 48, factor, shift));
        if constexpr (kTwoBytes) {
          low = _mm512_min_epu16(low, limit);
          high = _mm512_min_epu16(high, limit);
          parts[0][part] = natural_order(_mm512_packus_epi16(_mm512_srli_epi16(low, 8), _mm512_srli_epi16(high, 8)));
          parts[1][part] =
              natural_order(_mm512_packus_epi16(_mm512_and_si512(low, low_byte), _mm512_and_si512(high, low_byte)));
        } else {
          parts[0][part] = natural_order(_mm512_min_epu8(_mm512_packus_epi16(low, high), limit));
        }
      }
      const uint8_t* distances = scores_ + row * row_stride_;
      for (int byte = 0; byte < (kTwoBytes ? 2 : 1); ++byte) {
        uint8_t* probabilities = probabilities_ + (kTwoBytes ? 2 * row + byte : row) * row_stride_;
        const __m512i* table = parts[byte];
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

  // Probabilities times values.
  template <bool kTwoBytes>
  void mix(const uint8_t* probabilities, int64_t count, int8_t* y) {
    const int64_t registers = value_columns_ / kLanes;
    const Split split(registers, divide_up(registers, 4), 1);
    for (int64_t piece = 0; piece < split.count(); ++piece) {
      const int64_t first = split.begin(piece);
      const int64_t width = split.end(piece) - first;
      const int64_t channel = first * kLanes;
      const ContextStore<kTwoBytes> store{context_scales_ + first,
                                          first_bytes(std::min(width * kLanes, dim_ - channel)), count, y + channel,
                                          channels_};
      tile_of(width, probabilities, row_stride_, values_ + channel * kGroup, value_columns_ * kGroup, value_groups_,
              nullptr, store);
    }
  }

  const Attention& attention_;
  const int64_t tokens_;
  const int64_t dim_;
  const int64_t channels_;
  const int8_t* const query_;
  int8_t* const y_;
  const int64_t key_groups_;
  const int64_t value_groups_;
  const int64_t key_columns_;
  const int64_t value_columns_;
  const int64_t query_stride_;
  const int64_t row_stride_;
  const Split pieces_;  // of the keys, up to four registers each
  const int64_t piece_bytes_;
  const __mmask64 last_chunk_;
  const NarrowScale score_scale_;
  const Exponentials exponentials_;
  int32_t largest_pre_shift_ = 0;
  int8_t* keys_;         // [pieces][head_dim / 4][tokens][4], padded; pieces start at place 0 of a span
  int32_t* key_starts_;  // -128 * (sum of the key)
  int8_t* values_;       // [tokens / 4][head_dim][4], padded with zeros
  ContextScale* context_scales_;
  uint8_t* queries_;
  uint8_t* scores_;  // and then the distances from the row maximum
  uint8_t* probabilities_;
};

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  thread_local Scratch scratch;
  Head worker(qkv, attention, head, y, scratch);
  if (!worker.narrow()) return generic::kAttention.compute(qkv, attention, head, first, last, y);
  worker.pack();
  for (int64_t query = first; query < last; query += kQueries) {
    worker.attend(query, std::min(kQueries, last - query));
  }
}

}  // namespace

const AttentionKernel kAttention = {kQueries, attend};

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
