// Attention with 256-bit registers: the keys and values of a head are packed like the weights of a linear layer, then
// six queries at a time go from scores to context. Everything here is compiled for AVX2 and local to the file that
// includes it.
#pragma once

#include <algorithm>

#include "kernels/common/integer.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/x86/avx2/attention_pack.h"
#include "kernels/cpu/x86/avx2/operands.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// Queries [first, last), of which six at a time are rows. `Operands` are those of scores, `Values` those of contexts,
// `Tokens` those of attention_tokens.h. stage.weights<Values>(query, row, products, weights) turns the products of a
// query with all keys, in the order of tiles, into what Values::store_probabilities writes; stage.context(row, sums,
// block) is what 16 sums of weighted values become.
template <class Operands, class Values, class Tokens, class Stage>
void attend(const Tokens& tokens, int64_t first, int64_t last, Stage& stage) {
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

  const int64_t query_bytes = round_up(dim, 16) * Operands::kValueBytes;
  const AlignedArray<uint8_t> prepared(kTileRows * query_bytes);
  const int64_t sums_stride = std::max(padded_count, padded_dim);
  const AlignedArray<int32_t> sums(kTileRows * sums_stride);
  const int64_t weight_bytes = padded_count * Values::kValueBytes;
  const AlignedArray<uint8_t> weights(kTileRows * weight_bytes);
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
      stage.template weights<Values>(query + r, r, sums.get() + r * sums_stride, weights.get() + r * weight_bytes);
    }
    const TileRows weight_rows{weights.get(), weight_bytes, kZeros};
    for (int64_t d = 0; d < dim; d += kTileColumns) {
      Values::kTiles[rows - 1](weight_rows, packed_values.get() + d / kTileColumns * value_panel, value_steps,
                               sums.get() + d, sums_stride);
    }
    for (int64_t r = 0; r < rows; ++r) {
      int8_t* context = tokens.context(query + r);
      if (context == nullptr) continue;
      const int32_t* row = sums.get() + r * sums_stride;
      for (int64_t d = 0; d < dim; d += kTileColumns) {
        store16(context + d, pack_bytes(pack(stage.context(r, row + d, d / kTileColumns))), dim - d);
      }
    }
  }
}

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
