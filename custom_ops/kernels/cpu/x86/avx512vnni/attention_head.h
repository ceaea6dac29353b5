// Attention with AVX-512: the keys and values of a head are packed, then six queries at a time go from scores to
// context. Weights of the values are bytes; of two bytes each has two rows, which share the values in the second
// product.
#pragma once

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/x86/avx512vnni/attention_pack.h"
#include "kernels/cpu/x86/avx512vnni/attention_tile.h"
#include "kernels/cpu/x86/avx512vnni/span_memory.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kQueries = kScoreRows;

// What the queries of a head have in common, and the memory for six of them on their way. `Tokens` are those of
// attention_tokens.h; Stage::kScoreBytes is the size of a score, and a stage has
//   score(registers, rows, columns, starts, y, stride): a tile of scores, see score_tile;
//   two_bytes(): whether weights have two bytes;
//   weights(first query, queries, scores, weights): rows of them, of two bytes that of upper bytes first; rows are
//   whole registers long; context(row, register): of the rows of a tile from `row` on, see context_tile.
template <class Tokens, class Stage>
class Head {
 public:
  Head(const Tokens& tokens, Stage& stage, SpanMemory& memory)
      : tokens_(tokens),
        stage_(stage),
        keys_(tokens.count, tokens.head_dim),
        value_groups_(divide_up(tokens.count, kGroup)),
        value_columns_(round_up(tokens.head_dim, kLanes)),
        query_stride_(round_up(tokens.head_dim, kChunk)),
        row_stride_(round_up(tokens.count, kChunk)) {
    const int64_t values = value_groups_ * value_columns_ * kGroup;
    const int64_t scores = kQueries * row_stride_ * Stage::kScoreBytes;
    constexpr int64_t kHalfSpan = SpanMemory::kSpan / 2;
    memory.reset(SpanMemory::spans_of<int8_t>(keys_.bytes(), 0) + SpanMemory::spans_of<int8_t>(values, 0) +
                 SpanMemory::spans_of<uint8_t>(scores, kHalfSpan) +
                 SpanMemory::spans_of<uint8_t>(2 * kQueries * row_stride_, kHalfSpan) +
                 SpanMemory::spans_of<uint8_t>(kQueries * query_stride_, kHalfSpan) +
                 SpanMemory::spans_of<int32_t>(keys_.padded(), 0));
    packed_keys_ = memory.take<int8_t>(keys_.bytes(), 0);
    values_ = memory.take<int8_t>(values, 0);
    scores_ = memory.take<uint8_t>(scores, kHalfSpan);
    weights_ = memory.take<uint8_t>(2 * kQueries * row_stride_, kHalfSpan);
    queries_ = memory.take<uint8_t>(kQueries * query_stride_, kHalfSpan);
    key_starts_ = memory.take<int32_t>(keys_.padded(), 0);
    std::fill_n(queries_, kQueries * query_stride_, uint8_t{0});
  }

  // Queries [first, last).
  void attend(int64_t first, int64_t last) {
    keys_.pack(tokens_, packed_keys_, key_starts_);
    pack_values(tokens_, values_);
    const int64_t score_stride = row_stride_ * Stage::kScoreBytes;
    for (int64_t query = first; query < last; query += kQueries) {
      const int64_t count = std::min(kQueries, last - query);
      load_queries(query, count);
      keys_.for_chunks([&](int64_t key, int64_t registers, const Columns& columns, const int32_t* starts) {
        stage_.score(registers, {queries_, query_stride_}, columns, starts, scores_ + key * Stage::kScoreBytes,
                     score_stride);
      });
      stage_.weights(query, count, scores_, weights_);
      if (stage_.two_bytes()) {
        constexpr int64_t kHalf = kQueries / 2;
        mix<true>(0, query, std::min(count, kHalf));
        if (count > kHalf) mix<true>(kHalf, query + kHalf, count - kHalf);
      } else {
        mix<false>(0, query, count);
      }
    }
  }

 private:
  // Rows from `count` on keep what they had. Queries are far apart: those after the next are fetched.
  void load_queries(int64_t first, int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      const int64_t query = first + row;
      if (query + 2 * kQueries < tokens_.count) __builtin_prefetch(tokens_.query(query + 2 * kQueries));
      load_query(tokens_.query(query), tokens_.head_dim, queries_ + row * query_stride_);
    }
  }

  // Weights times values: the contexts of `count` queries, whose weights begin at `first_row`.
  template <bool kTwoBytes>
  void mix(int64_t first_row, int64_t first_query, int64_t count) {
    const uint8_t* weights = weights_ + first_row * (kTwoBytes ? 2 : 1) * row_stride_;
    const int64_t registers = value_columns_ / kLanes;
    const Split split(registers, divide_up(registers, 4), 1);
    for (int64_t piece = 0; piece < split.count(); ++piece) {
      const int64_t first = split.begin(piece);
      const int64_t channel = first * kLanes;
      int8_t* contexts[kQueries] = {};
      for (int64_t row = 0; row < count; ++row) {
        int8_t* context = tokens_.context(first_query + row);
        if (context != nullptr) contexts[row] = context + channel;
      }
      using Context = decltype(stage_.context(0, 0));
      using Tile = decltype(&context_tile<kTwoBytes, kQueries, 1, Context>);
      constexpr Tile kTiles[] = {
          context_tile<kTwoBytes, kQueries, 1, Context>, context_tile<kTwoBytes, kQueries, 2, Context>,
          context_tile<kTwoBytes, kQueries, 3, Context>, context_tile<kTwoBytes, kQueries, 4, Context>};
      kTiles[split.end(piece) - first - 1](
          {weights, row_stride_}, {values_ + channel * kGroup, value_columns_ * kGroup, value_groups_},
          stage_.context(first_row, first),
          first_bytes(std::min(split.end(piece) * kLanes, tokens_.head_dim) - channel), contexts);
    }
  }

  const Tokens& tokens_;
  Stage& stage_;
  Keys keys_;
  const int64_t value_groups_;
  const int64_t value_columns_;
  const int64_t query_stride_;
  const int64_t row_stride_;  // of a row of bytes
  int8_t* packed_keys_;
  int32_t* key_starts_;
  int8_t* values_;
  uint8_t* queries_;
  uint8_t* scores_;
  uint8_t* weights_;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
