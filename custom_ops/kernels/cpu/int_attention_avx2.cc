// IntAttention with 256-bit registers: the keys and values of a head are packed like the weights of a linear layer,
// then six queries at a time go from scores to context.
#include "kernels/cpu/int_attention_avx2.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_pack_avx2.h"
#include "kernels/cpu/operands_avx2.h"
#include "kernels/cpu/target_avx2.h"

namespace ivit::cpu {
namespace {

// A dyadic number in the 32-bit form that PackedLinear describes.
struct NarrowShift {
  explicit NarrowShift(int32_t shift)
      : pre_shift(std::max(0, 33 - shift)),
        rounding(static_cast<int32_t>(int64_t{1} << (shift + pre_shift - 33))),
        post_shift(shift + pre_shift - 32) {}

  // Whether values that are nowhere above `largest` have room for it, unless they wrapped around before.
  bool fits(int64_t largest) const {
    return pre_shift == 0 || (pre_shift < 31 && largest < (int64_t{1} << (31 - pre_shift)));
  }

  int32_t pre_shift;
  int32_t rounding;
  int32_t post_shift;
};

int64_t place(int64_t column) { return column / kTileColumns * kTileColumns + kTileOrder[column % kTileColumns]; }

// The scores of a query, one scale for all.
class ScoreScale {
 public:
  ScoreScale(const Dyadic& scale, int64_t largest)
      : wide_(scale),
        shift_(scale.shift[0]),
        narrow_(shift_.fits(largest)),
        vector_(scale.multiplier[0], shift_.pre_shift, shift_.rounding, shift_.post_shift) {}

  void operator()(const int32_t* sums, int64_t count, int8_t* scores) const {
    if (!narrow_) {
      for (int64_t t = 0; t < count; ++t) scores[t] = saturate<int8_t>(wide_.scale(sums[place(t)], 0));
      return;
    }
    for (int64_t t = 0; t < count; t += kTileColumns) {
      const __m256i packed = _mm256_packs_epi32(vector_(load(sums + t)), vector_(load(sums + t + 8)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(scores + t), pack8(packed));
    }
  }

 private:
  Dyadic wide_;
  NarrowShift shift_;
  bool narrow_;
  VectorScale vector_;
};

// The context of a query, perhaps a scale for each channel.
class ContextScale {
 public:
  ContextScale(const Dyadic& scale, int64_t count, int64_t largest)
      : wide_(scale),
        padded_(round_up(count, kTileColumns)),
        multiplier_(padded_),
        pre_shift_(padded_),
        rounding_(padded_),
        post_shift_(padded_) {
    for (int64_t c = 0; c < padded_; ++c) {
      const int64_t channel = std::min(c, count - 1);
      const NarrowShift shift(scale.shift[channel * scale.shift_stride]);
      const int64_t at = place(c);
      multiplier_[at] = scale.multiplier[channel * scale.multiplier_stride];
      pre_shift_[at] = shift.pre_shift;
      rounding_[at] = shift.rounding;
      post_shift_[at] = shift.post_shift;
      narrow_ = narrow_ && shift.fits(largest);
    }
  }

  void operator()(const int32_t* sums, int64_t count, int8_t* y) const {
    if (!narrow_) {
      for (int64_t c = 0; c < count; ++c) y[c] = saturate<int8_t>(wide_.scale(sums[place(c)], c));
      return;
    }
    const ColumnScales scales{multiplier_.get(), pre_shift_.get(), rounding_.get(), post_shift_.get()};
    for (int64_t c = 0; c < count; c += kTileColumns) {
      const __m256i packed = _mm256_packs_epi32(scales(load(sums + c), c), scales(load(sums + c + 8), c + 8));
      store16(y + c, pack8(packed), count - c);
    }
  }

 private:
  Dyadic wide_;
  int64_t padded_;
  AlignedArray<int32_t> multiplier_;
  AlignedArray<int32_t> pre_shift_;
  AlignedArray<int32_t> rounding_;
  AlignedArray<int32_t> post_shift_;
  bool narrow_ = true;
};

// The softmax of one row.
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
  template <class Values>
  void run(int8_t* scores, uint8_t* probabilities) const {
    const int32_t* from_max = table_ + 255 - row_max(scores);
    // Faster than a gather. Two sums of 64-bit lanes, for even tokens and for odd ones.
    const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF);
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (int64_t t = 0; t < tokens_; t += 8) {
      const int8_t* s = scores + t;
      __m256i e = _mm256_setr_epi32(from_max[s[0]], from_max[s[1]], from_max[s[2]], from_max[s[3]], from_max[s[4]],
                                    from_max[s[5]], from_max[s[6]], from_max[s[7]]);
      if (t + 8 > tokens_) e = _mm256_and_si256(e, last_);
      store(&exponentials_[t], e);
      even = _mm256_add_epi64(even, _mm256_and_si256(e, low_half));
      odd = _mm256_add_epi64(odd, _mm256_srli_epi64(e, 32));
    }
    const int64_t sum = add_lanes64(_mm256_add_epi64(even, odd));
    const __m256i factor = _mm256_set1_epi32(static_cast<int32_t>(softmax_.factor(sum)));
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const __m256i interleaved = _mm256_packs_epi32(probability(t, factor), probability(t + 8, factor));
      Values::store_probabilities(probabilities, t, _mm256_permute4x64_epi64(interleaved, 0xD8));
    }
  }

 private:
  int row_max(int8_t* scores) const {
    const int64_t padded = round_up(tokens_, 32);
    std::fill(scores + tokens_, scores + padded, INT8_MIN);
    __m256i largest = load(scores);
    for (int64_t t = 32; t < padded; t += 32) largest = _mm256_max_epi8(largest, load(scores + t));
    return max_lane8(largest);
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

template <class Operands, class Values>
void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const int64_t tokens = attention.tokens, dim = attention.head_dim;
  const int64_t channels = attention.heads * dim;
  const int64_t stride = 3 * channels;
  const int8_t* queries = qkv + head * dim;
  const int8_t* keys = queries + channels;
  const int8_t* values = keys + channels;

  const int64_t key_steps = divide_up(dim, Operands::kGroup);
  const int64_t key_panel = round_up(key_steps, 8) * kTileStepBytes;
  const int64_t padded_tokens = round_up(tokens, kTileColumns);
  const AlignedArray<uint8_t> packed_keys(padded_tokens / kTileColumns * key_panel);
  for (int64_t t = 0; t < tokens; t += kTileColumns) {
    pack_keys<Operands>(keys + t * stride, stride, tokens - t, dim, packed_keys.get() + t / kTileColumns * key_panel);
  }
  const int64_t value_steps = divide_up(tokens, Values::kGroup);
  const int64_t value_panel = value_steps * kTileStepBytes;
  const int64_t padded_dim = round_up(dim, kTileColumns);
  const AlignedArray<uint8_t> packed_values(padded_dim / kTileColumns * value_panel);
  for (int64_t d = 0; d < dim; d += kTileColumns) {
    pack_values<Values>(values + d, stride, tokens, dim - d, packed_values.get() + d / kTileColumns * value_panel);
  }

  const RowSoftmax softmax(attention.softmax, tokens);
  const ScoreScale score_scale(attention.score_scale, dim << 14);
  const ContextScale context_scale(attention.context_scale.from(head * dim), dim,
                                   attention.softmax.largest_sum(tokens) << 7);

  const int64_t query_bytes = round_up(dim, 16) * Operands::kValueBytes;
  const AlignedArray<uint8_t> prepared(kTileRows * query_bytes);
  const int64_t sums_stride = std::max(padded_tokens, padded_dim);
  const AlignedArray<int32_t> sums(kTileRows * sums_stride);
  const AlignedArray<int8_t> scores(round_up(tokens, 32));
  const int64_t probability_bytes = padded_tokens * Values::kValueBytes;
  const AlignedArray<uint8_t> probabilities(kTileRows * probability_bytes);
  int32_t start[kTileRows];
  constexpr int32_t kZeros[kTileRows] = {};
  for (int64_t query = first; query < last; query += kTileRows) {
    const int64_t count = std::min(kTileRows, last - query);
    for (int64_t r = 0; r < count; ++r) {
      start[r] = Operands::prepare_row(queries + (query + r) * stride, dim, prepared.get() + r * query_bytes);
    }
    const TileRows query_rows{prepared.get(), query_bytes, start};
    for (int64_t t = 0; t < tokens; t += kTileColumns) {
      Operands::kTiles[count - 1](query_rows, packed_keys.get() + t / kTileColumns * key_panel, key_steps,
                                  sums.get() + t, sums_stride);
    }
    for (int64_t r = 0; r < count; ++r) {
      score_scale(sums.get() + r * sums_stride, tokens, scores.get());
      softmax.run<Values>(scores.get(), probabilities.get() + r * probability_bytes);
    }
    const TileRows probability_rows{probabilities.get(), probability_bytes, kZeros};
    for (int64_t d = 0; d < dim; d += kTileColumns) {
      Values::kTiles[count - 1](probability_rows, packed_values.get() + d / kTileColumns * value_panel, value_steps,
                                sums.get() + d, sums_stride);
    }
    for (int64_t r = 0; r < count; ++r) {
      context_scale(sums.get() + r * sums_stride, dim, y + (query + r) * channels + head * dim);
    }
  }
}

void attend_avxvnni(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last,
                    int8_t* y) {
  const auto compute =
      attention.softmax.frac_bits <= 8 ? attend<AvxVnniOperands, ByteValues> : attend<AvxVnniOperands, PairValues>;
  compute(qkv, attention, head, first, last, y);
}

}  // namespace

const AttentionKernel kAttentionAvx2 = {kTileRows, attend<Avx2Operands, PairValues>};
const AttentionKernel kAttentionAvxVnni = {kTileRows, attend_avxvnni};

}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
