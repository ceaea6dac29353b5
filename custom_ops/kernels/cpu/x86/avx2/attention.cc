// Attention in an image and inside a window with 256-bit registers: the keys and values of a head are packed like the
// weights of a linear layer, then six queries at a time go from scores to context.
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx2/attention_pack.h"
#include "kernels/cpu/x86/avx2/attention_softmax.h"
#include "kernels/cpu/x86/avx2/kernels.h"
#include "kernels/cpu/x86/avx2/operands.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// Queries [first, last). `tokens` are those of attention_tokens.h; softmax(query, scores, probabilities) turns the int8
// scores of a query, with room up to a multiple of 32, into what Values::store_probabilities writes.
template <class Operands, class Values, class Tokens, class RowStage>
void attend(const Tokens& tokens, const HeadScales& scales, int64_t first, int64_t last, const RowStage& softmax) {
  const int64_t count = tokens.count, dim = tokens.head_dim;
  const int64_t key_steps = divide_up(dim, Operands::kGroup);
  const int64_t key_panel = round_up(key_steps, 8) * kTileStepBytes;
  const int64_t padded_count = round_up(count, kTileColumns);
  const AlignedArray<uint8_t> packed_keys(padded_count / kTileColumns * key_panel);
  for (int64_t t = 0; t < count; t += kTileColumns) {
    pack_keys<Operands>(tokens, t, packed_keys.get() + t / kTileColumns * key_panel);
  }
  const int64_t value_steps = divide_up(count, Values::kGroup);
  const int64_t value_panel = value_steps * kTileStepBytes;
  const int64_t padded_dim = round_up(dim, kTileColumns);
  const AlignedArray<uint8_t> packed_values(padded_dim / kTileColumns * value_panel);
  for (int64_t d = 0; d < dim; d += kTileColumns) {
    pack_values<Values>(tokens, d, packed_values.get() + d / kTileColumns * value_panel);
  }

  const UniformScale score_scale(scales.score);
  const int64_t query_bytes = round_up(dim, 16) * Operands::kValueBytes;
  const AlignedArray<uint8_t> prepared(kTileRows * query_bytes);
  const int64_t sums_stride = std::max(padded_count, padded_dim);
  const AlignedArray<int32_t> sums(kTileRows * sums_stride);
  const AlignedArray<int8_t> scores(round_up(count, 32));
  const int64_t probability_bytes = padded_count * Values::kValueBytes;
  const AlignedArray<uint8_t> probabilities(kTileRows * probability_bytes);
  int32_t start[kTileRows];
  constexpr int32_t kZeros[kTileRows] = {};
  for (int64_t query = first; query < last; query += kTileRows) {
    const int64_t rows = std::min(kTileRows, last - query);
    for (int64_t r = 0; r < rows; ++r) {
      start[r] = Operands::prepare_row(tokens.query(query + r), dim, prepared.get() + r * query_bytes);
    }
    const TileRows query_rows{prepared.get(), query_bytes, start};
    for (int64_t t = 0; t < count; t += kTileColumns) {
      Operands::kTiles[rows - 1](query_rows, packed_keys.get() + t / kTileColumns * key_panel, key_steps,
                                 sums.get() + t, sums_stride);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t* row = sums.get() + r * sums_stride;
      for (int64_t t = 0; t < count; t += kTileColumns) {
        const __m256i packed = pack({score_scale.requantize(load(row + t)), score_scale.requantize(load(row + t + 8))});
        _mm_storeu_si128(reinterpret_cast<__m128i*>(scores.get() + t), pack_bytes(packed));
      }
      softmax(query + r, scores.get(), probabilities.get() + r * probability_bytes);
    }
    const TileRows probability_rows{probabilities.get(), probability_bytes, kZeros};
    for (int64_t d = 0; d < dim; d += kTileColumns) {
      Values::kTiles[rows - 1](probability_rows, packed_values.get() + d / kTileColumns * value_panel, value_steps,
                               sums.get() + d, sums_stride);
    }
    for (int64_t r = 0; r < rows; ++r) {
      int8_t* context = tokens.context(query + r);
      if (context == nullptr) continue;
      const int32_t* row = sums.get() + r * sums_stride;
      for (int64_t d = 0; d < dim; d += kTileColumns) {
        const ChannelScales scale(scales.context[d / kTileColumns]);
        const __m256i packed = pack({scale.requantize(load(row + d), 0), scale.requantize(load(row + d + 8), 8)});
        store16(context + d, pack_bytes(packed), dim - d);
      }
    }
  }
}

template <class Operands, class Values>
void image_head(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  const AlignedArray<LaneScales> memory(HeadScales::blocks(tokens.head_dim));
  const HeadScales scales(attention, head, kTileOrder, memory.get());
  if (!scales.fit(tokens.count, attention.softmax)) {
    return generic::kAttention.compute(qkv, attention, head, first, last, y);
  }
  const RowSoftmax softmax(attention.softmax, tokens.count);
  attend<Operands, Values>(tokens, scales, first, last, [&](int64_t, int8_t* scores, uint8_t* probabilities) {
    softmax.run<Values>(scores, AllVisible(), probabilities);
  });
}

template <class Operands, class Values>
void window_head(const Window& window, const WindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  const AlignedArray<LaneScales> memory(HeadScales::blocks(tokens.head_dim));
  const HeadScales scales(attention, head, kTileOrder, memory.get());
  if (!scales.fit(tokens.count, attention.softmax)) return generic::attend_window(window, attention, head);
  const RowSoftmax softmax(attention.softmax, tokens.count);
  const uint8_t* regions = window.regions;
  attend<Operands, Values>(tokens, scales, 0, tokens.count, [&](int64_t query, int8_t* scores, uint8_t* probabilities) {
    attention.biased.apply(head, query, scores);
    if (regions == nullptr) return softmax.run<Values>(scores, AllVisible(), probabilities);
    softmax.run<Values>(scores, SameRegion(regions, query, attention.softmax), probabilities);
  });
}

void image_head_vnni(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last,
                     int8_t* y) {
  const auto compute = attention.softmax.frac_bits <= 8 ? image_head<AvxVnniOperands, ByteValues>
                                                        : image_head<AvxVnniOperands, PairValues>;
  compute(qkv, attention, head, first, last, y);
}

}  // namespace

const AttentionKernel kAttention = {kTileRows, image_head<Avx2Operands, PairValues>};
const AttentionKernel kAttentionVnni = {kTileRows, image_head_vnni};

void attend_window(const Window& window, const WindowAttention& attention, int64_t head) {
  window_head<Avx2Operands, PairValues>(window, attention, head);
}

void attend_window_vnni(const Window& window, const WindowAttention& attention, int64_t head) {
  const auto compute = attention.softmax.frac_bits <= 8 ? window_head<AvxVnniOperands, ByteValues>
                                                        : window_head<AvxVnniOperands, PairValues>;
  compute(window, attention, head);
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
