// Attention inside a window with 256-bit registers: the keys and values of a head are packed like the weights of a
// linear layer, then six queries at a time go from scores to context.
#include "kernels/cpu/int_window_attention_avx2.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_pack_avx2.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/operands_avx2.h"
#include "kernels/cpu/target_avx2.h"

namespace ivit::cpu {
namespace {

// Whether a left shift keeps values of this size inside int32. Not shifted, they may wrap around as they like.
bool has_room(int64_t largest, int32_t shift) { return shift == 0 || largest <= (int64_t{INT32_MAX} >> shift); }

// The scales of the channels of a head, in the order of tiles.
class ContextScales {
 public:
  ContextScales(const Dyadic& scale, int64_t count)
      : padded_(round_up(count, kTileColumns)),
        multiplier_(padded_),
        pre_shift_(padded_),
        rounding_(padded_),
        post_shift_(padded_) {
    NarrowScale narrow;
    for (int64_t c = 0; c < padded_; ++c) {
      // One number for all channels is taken apart once.
      if (c < count && (c == 0 || scale.multiplier_stride != 0 || scale.shift_stride != 0)) {
        narrow = NarrowScale(scale.from(c));
        largest_pre_shift = std::max(largest_pre_shift, narrow.pre_shift);
      }
      const int64_t at = c / kTileColumns * kTileColumns + kTileOrder[c % kTileColumns];
      multiplier_[at] = narrow.multiplier;
      pre_shift_[at] = narrow.pre_shift;
      rounding_[at] = narrow.rounding;
      post_shift_[at] = narrow.post_shift;
    }
  }

  void operator()(const int32_t* sums, int64_t count, int8_t* y) const {
    const ColumnScales scales{multiplier_.get(), pre_shift_.get(), rounding_.get(), post_shift_.get()};
    for (int64_t c = 0; c < count; c += kTileColumns) {
      const __m256i packed = _mm256_packs_epi32(scales(load(sums + c), c), scales(load(sums + c + 8), c + 8));
      store16(y + c, pack8(packed), count - c);
    }
  }

  int32_t largest_pre_shift = 0;

 private:
  int64_t padded_;
  AlignedArray<int32_t> multiplier_;
  AlignedArray<int32_t> pre_shift_;
  AlignedArray<int32_t> rounding_;
  AlignedArray<int32_t> post_shift_;
};

// From the sums of a query's row to its probabilities.
class Row {
 public:
  Row(const Window& window, const WindowAttention& attention, int64_t head, const NarrowScale& scale)
      : window_(window),
        attention_(attention),
        head_(head),
        places_(attention.grid.area()),
        scale_(scale.multiplier, scale.pre_shift, scale.rounding, scale.post_shift),
        rounding_(_mm256_set1_epi32(static_cast<int32_t>(attention.softmax.rounding))),
        shift_(_mm_cvtsi32_si128(31 - attention.softmax.frac_bits)),
        limit_(_mm256_set1_epi32((1 << attention.softmax.frac_bits) - 1)),
        scores_(round_up(places_, 32)),
        exponentials_(round_up(places_, kTileColumns)) {
    for (int d = 0; d < kScoreDistances; ++d) table_[255 - d] = attention.softmax.exponentials[d];
    std::fill_n(exponentials_.get(), round_up(places_, kTileColumns), 0);
  }

  // `sums` are in the order of tiles.
  template <class Values>
  void run(int64_t query, const int32_t* sums, uint8_t* probabilities) {
    place(query, sums);
    const int32_t* from_max = table_ + 255 - row_max(query);
    const uint8_t* regions = window_.regions;
    int64_t sum = 0;
    for (int64_t key = 0; key < places_; ++key) {
      const bool visible = regions == nullptr || regions[key] == regions[query];
      exponentials_[key] = visible ? from_max[scores_[key]] : attention_.softmax.masked;
      sum += exponentials_[key];
    }
    const __m256i factor = _mm256_set1_epi32(static_cast<int32_t>(attention_.softmax.factor(sum)));
    for (int64_t key = 0; key < places_; key += kTileColumns) {
      const __m256i interleaved = _mm256_packs_epi32(probability(key, factor), probability(key + 8, factor));
      Values::store_probabilities(probabilities, key, _mm256_permute4x64_epi64(interleaved, 0xD8));
    }
  }

 private:
  // Sums to scores to placed scores.
  void place(int64_t query, const int32_t* sums) {
    for (int64_t key = 0; key < places_; key += kTileColumns) {
      const __m256i packed = _mm256_packs_epi32(scale_(load(sums + key)), scale_(load(sums + key + 8)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(scores_.get() + key), pack8(packed));
    }
    const PlacedScores& placed = attention_.placed;
    const int16_t* bias = placed.bias(head_, query);
    for (int64_t key = 0; key < places_; ++key) {
      scores_[key] = saturate<int8_t>(placed.scaled(scores_[key]) + bias[key]);
    }
  }

  int row_max(int64_t query) const {
    const uint8_t* regions = window_.regions;
    int8_t largest = INT8_MIN;
    for (int64_t key = 0; key < places_; ++key) {
      if (regions == nullptr || regions[key] == regions[query]) largest = std::max(largest, scores_[key]);
    }
    return largest;
  }

  __m256i probability(int64_t key, __m256i factor) const {
    const __m256i scaled = _mm256_add_epi32(_mm256_mullo_epi32(load(exponentials_.get() + key), factor), rounding_);
    return _mm256_min_epi32(_mm256_srl_epi32(scaled, shift_), limit_);
  }

  const Window& window_;
  const WindowAttention& attention_;
  const int64_t head_;
  const int64_t places_;
  const VectorScale scale_;
  const __m256i rounding_;
  const __m128i shift_;
  const __m256i limit_;
  int32_t table_[kScoreDistances];
  AlignedArray<int8_t> scores_;
  AlignedArray<int32_t> exponentials_;
};

template <class Operands, class Values>
void attend(const Window& window, const WindowAttention& attention, int64_t head) {
  const int64_t places = attention.grid.area();
  const int64_t dim = attention.head_dim;
  const int64_t channels = attention.heads * dim;
  const NarrowScale score_scale(attention.score_scale);
  const ContextScales context_scales(attention.context_scale.from(head * dim), dim);
  // Whether 32-bit lanes are enough.
  if (!attention.softmax.sums_fit(places) || !has_room(dim << 14, score_scale.pre_shift) ||
      !has_room(attention.softmax.largest_sum(places) << 7, context_scales.largest_pre_shift)) {
    return attend_window_portable(window, attention, head);
  }

  const AlignedArray<int8_t> gathered(places * 2 * dim);
  int8_t* const keys = gathered.get();
  int8_t* const values = keys + places * dim;
  for (int64_t place = 0; place < places; ++place) {
    const int8_t* source = window.qkv[place] + head * dim + channels;
    std::copy_n(source, dim, keys + place * dim);
    std::copy_n(source + channels, dim, values + place * dim);
  }
  const int64_t key_steps = divide_up(dim, Operands::kGroup);
  const int64_t key_panel = round_up(key_steps, 8) * kTileStepBytes;
  const int64_t padded_places = round_up(places, kTileColumns);
  const AlignedArray<uint8_t> packed_keys(padded_places / kTileColumns * key_panel);
  for (int64_t t = 0; t < places; t += kTileColumns) {
    pack_keys<Operands>(keys + t * dim, dim, places - t, dim, packed_keys.get() + t / kTileColumns * key_panel);
  }
  const int64_t value_steps = divide_up(places, Values::kGroup);
  const int64_t value_panel = value_steps * kTileStepBytes;
  const int64_t padded_dim = round_up(dim, kTileColumns);
  const AlignedArray<uint8_t> packed_values(padded_dim / kTileColumns * value_panel);
  for (int64_t d = 0; d < dim; d += kTileColumns) {
    pack_values<Values>(values + d, dim, places, dim - d, packed_values.get() + d / kTileColumns * value_panel);
  }

  Row row(window, attention, head, score_scale);
  const int64_t query_bytes = round_up(dim, 16) * Operands::kValueBytes;
  const AlignedArray<uint8_t> prepared(kTileRows * query_bytes);
  const int64_t sums_stride = std::max(padded_places, padded_dim);
  const AlignedArray<int32_t> sums(kTileRows * sums_stride);
  const int64_t probability_bytes = padded_places * Values::kValueBytes;
  const AlignedArray<uint8_t> probabilities(kTileRows * probability_bytes);
  int32_t start[kTileRows];
  constexpr int32_t kZeros[kTileRows] = {};
  for (int64_t query = 0; query < places; query += kTileRows) {
    const int64_t count = std::min(kTileRows, places - query);
    for (int64_t r = 0; r < count; ++r) {
      start[r] = Operands::prepare_row(window.qkv[query + r] + head * dim, dim, prepared.get() + r * query_bytes);
    }
    const TileRows query_rows{prepared.get(), query_bytes, start};
    for (int64_t t = 0; t < places; t += kTileColumns) {
      Operands::kTiles[count - 1](query_rows, packed_keys.get() + t / kTileColumns * key_panel, key_steps,
                                  sums.get() + t, sums_stride);
    }
    for (int64_t r = 0; r < count; ++r) {
      row.run<Values>(query + r, sums.get() + r * sums_stride, probabilities.get() + r * probability_bytes);
    }
    const TileRows probability_rows{probabilities.get(), probability_bytes, kZeros};
    for (int64_t d = 0; d < dim; d += kTileColumns) {
      Values::kTiles[count - 1](probability_rows, packed_values.get() + d / kTileColumns * value_panel, value_steps,
                                sums.get() + d, sums_stride);
    }
    for (int64_t r = 0; r < count; ++r) {
      if (window.y[query + r] == nullptr) continue;
      context_scales(sums.get() + r * sums_stride, dim, window.y[query + r] + head * dim);
    }
  }
}

}  // namespace

void attend_window_avx2(const Window& window, const WindowAttention& attention, int64_t head) {
  attend<Avx2Operands, PairValues>(window, attention, head);
}

void attend_window_avxvnni(const Window& window, const WindowAttention& attention, int64_t head) {
  const auto compute =
      attention.softmax.frac_bits <= 8 ? attend<AvxVnniOperands, ByteValues> : attend<AvxVnniOperands, PairValues>;
  compute(window, attention, head);
}

}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
