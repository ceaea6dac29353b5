// Attention in an image with AVX-512: six queries at a time go from scores to context. With frac_bits = 15 a
// probability is two bytes and has two rows, which share the values in the second product.
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx512vnni/attention_pack.h"
#include "kernels/cpu/x86/avx512vnni/attention_tile.h"
#include "kernels/cpu/x86/avx512vnni/byte_softmax.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/span_memory.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kQueries = kScoreRows;

// What the queries of a head have in common, and the memory for six of them on their way.
class Head {
 public:
  Head(const ImageTokens& tokens, const Softmax& softmax, SpanMemory& memory)
      : tokens_(tokens),
        two_bytes_(softmax.frac_bits > 8),
        softmax_(softmax, tokens.count),
        key_groups_(divide_up(tokens.head_dim, kGroup)),
        value_groups_(divide_up(tokens.count, kGroup)),
        key_columns_(round_up(tokens.count, kLanes)),
        value_columns_(round_up(tokens.head_dim, kLanes)),
        query_stride_(round_up(tokens.head_dim, kChunk)),
        row_stride_(softmax_.row_stride()),
        pieces_(key_columns_ / kLanes, divide_up(key_columns_, kChunk), 1),
        piece_bytes_(round_up(key_groups_ * kChunk * kGroup, SpanMemory::kSpan)) {
    const int64_t keys = pieces_.count() * piece_bytes_;
    const int64_t values = value_groups_ * value_columns_ * kGroup;
    const int64_t blocks = HeadScales::blocks(tokens.head_dim);
    constexpr int64_t kHalfSpan = SpanMemory::kSpan / 2;
    memory.reset(SpanMemory::spans_of<int8_t>(keys, 0) + SpanMemory::spans_of<int8_t>(values, 0) +
                 SpanMemory::spans_of<uint8_t>(kQueries * row_stride_, kHalfSpan) +
                 SpanMemory::spans_of<uint8_t>(2 * kQueries * row_stride_, kHalfSpan) +
                 SpanMemory::spans_of<uint8_t>(kQueries * query_stride_, kHalfSpan) +
                 SpanMemory::spans_of<int32_t>(key_columns_, 0) + SpanMemory::spans_of<LaneScales>(blocks, 0));
    keys_ = memory.take<int8_t>(keys, 0);
    values_ = memory.take<int8_t>(values, 0);
    scores_ = memory.take<uint8_t>(kQueries * row_stride_, kHalfSpan);
    probabilities_ = memory.take<uint8_t>(2 * kQueries * row_stride_, kHalfSpan);
    queries_ = memory.take<uint8_t>(kQueries * query_stride_, kHalfSpan);
    key_starts_ = memory.take<int32_t>(key_columns_, 0);
    scale_memory_ = memory.take<LaneScales>(blocks, 0);
    std::fill_n(queries_, kQueries * query_stride_, uint8_t{0});
  }

  LaneScales* scale_memory() const { return scale_memory_; }

  // Queries [first, last).
  void attend(int64_t first, int64_t last, const HeadScales& scales) {
    pack();
    const UniformScale score_scale(scales.score);
    for (int64_t query = first; query < last; query += kQueries) {
      const int64_t count = std::min(kQueries, last - query);
      load_queries(query, count);
      score(score_scale);
      if (two_bytes_) {
        softmax_.run<true>(scores_, probabilities_);
        constexpr int64_t kHalf = kQueries / 2;
        mix<true>(probabilities_, query, std::min(count, kHalf), scales);
        if (count > kHalf) mix<true>(probabilities_ + kQueries * row_stride_, query + kHalf, count - kHalf, scales);
      } else {
        softmax_.run<false>(scores_, probabilities_);
        mix<false>(probabilities_, query, count, scales);
      }
    }
  }

 private:
  // The keys of a piece stand together, [groups][registers], so that its tile reads from front to back.
  Columns keys_of(int64_t piece) const {
    const int64_t width = pieces_.end(piece) - pieces_.begin(piece);
    return {keys_ + piece * piece_bytes_, width * kLanes * kGroup, key_groups_};
  }

  void pack() {
    for (int64_t piece = 0; piece < pieces_.count(); ++piece) {
      const Columns columns = keys_of(piece);
      int8_t* packed = keys_ + piece * piece_bytes_;
      for (int64_t i = pieces_.begin(piece); i < pieces_.end(piece); ++i) {
        pack_keys(tokens_, i * kLanes, packed, columns.stride, key_starts_ + i * kLanes);
        packed += kLanes * kGroup;
      }
    }
    pack_values(tokens_, values_);
  }

  // Rows from `count` on keep what they had. Queries are far apart: those after the next are fetched.
  void load_queries(int64_t first, int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      __builtin_prefetch(tokens_.query(first + row + 2 * kQueries));
      load_query(tokens_.query(first + row), tokens_.head_dim, queries_ + row * query_stride_);
    }
  }

  void score(const UniformScale& scale) {
    for (int64_t piece = 0; piece < pieces_.count(); ++piece) {
      const int64_t first = pieces_.begin(piece);
      // What a piece stores past its end is overwritten by the next one.
      const auto tile = choose_score_tile(pieces_.end(piece) - first, scale);
      tile({queries_, query_stride_}, keys_of(piece), key_starts_ + first * kLanes, scale, scores_ + first * kLanes,
           row_stride_);
    }
  }

  // Probabilities times values: the contexts of `count` queries.
  template <bool kTwoBytes>
  void mix(const uint8_t* probabilities, int64_t first_query, int64_t count, const HeadScales& scales) {
    const int64_t registers = value_columns_ / kLanes;
    const Split split(registers, divide_up(registers, 4), 1);
    for (int64_t piece = 0; piece < split.count(); ++piece) {
      const int64_t first = split.begin(piece);
      const int64_t channel = first * kLanes;
      int8_t* contexts[kQueries];
      for (int64_t row = 0; row < kQueries; ++row) {
        contexts[row] = row < count ? tokens_.context(first_query + row) + channel : nullptr;
      }
      using Tile = decltype(&context_tile<kTwoBytes, kQueries, 1>);
      constexpr Tile kTiles[] = {context_tile<kTwoBytes, kQueries, 1>, context_tile<kTwoBytes, kQueries, 2>,
                                 context_tile<kTwoBytes, kQueries, 3>, context_tile<kTwoBytes, kQueries, 4>};
      kTiles[split.end(piece) - first - 1](
          {probabilities, row_stride_}, {values_ + channel * kGroup, value_columns_ * kGroup, value_groups_},
          scales.context + first, first_bytes(std::min(split.end(piece) * kLanes, tokens_.head_dim) - channel),
          contexts);
    }
  }

  const ImageTokens& tokens_;
  const bool two_bytes_;
  const ByteSoftmax softmax_;
  const int64_t key_groups_;
  const int64_t value_groups_;
  const int64_t key_columns_;
  const int64_t value_columns_;
  const int64_t query_stride_;
  const int64_t row_stride_;
  const Split pieces_;  // of the keys, up to four registers each
  const int64_t piece_bytes_;
  int8_t* keys_;  // [pieces][head_dim / 4][tokens][4], padded; pieces start at place 0 of a span
  int32_t* key_starts_;
  int8_t* values_;
  LaneScales* scale_memory_;
  uint8_t* queries_;
  uint8_t* scores_;
  uint8_t* probabilities_;
};

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  thread_local SpanMemory memory;
  const ImageTokens tokens(qkv, attention, head, y);
  Head worker(tokens, attention.softmax, memory);
  const HeadScales scales(attention, head, nullptr, worker.scale_memory());
  if (!scales.fit(tokens.count, attention.softmax)) {
    return generic::kAttention.compute(qkv, attention, head, first, last, y);
  }
  worker.attend(first, last, scales);
}

}  // namespace

const AttentionKernel kAttention = {kQueries, attend};

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
