// The two products of attention: rows of unsigned bytes (queries + 128, probabilities) times up to 64 columns (keys,
// values), narrowed as soon as they are complete.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/x86/avx512vnni/attention_pack.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// Rows of unsigned bytes, `stride` apart.
struct ByteRows {
  const uint8_t* bytes;
  int64_t stride;
};

// R rows times C * 16 columns. Accumulators start at `starts`, at zero if that is null; store(row, sums) takes them,
// for kPairs 256 * (row 2 * i) + (row 2 * i + 1) as row i.
template <int R, int C, bool kPairs, class Store>
inline __attribute__((always_inline)) void tile(const ByteRows& rows, const Columns& columns, const int32_t* starts,
                                                const Store& store) {
  __m512i sums[R][C];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[r][c] = starts == nullptr ? _mm512_setzero_si512() : load(starts + c * kLanes);
  }
  const uint8_t* fours = rows.bytes;
  const int64_t stride = rows.stride;
  const int8_t* packed = columns.packed;
  for (int64_t group = 0; group < columns.groups; ++group) {
    __m512i column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) column[c] = load(packed + c * kLanes * kGroup);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      int32_t four;
      std::memcpy(&four, fours + r * stride, sizeof four);
      const __m512i broadcast = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) IVIT_DOT(sums[r][c], broadcast, column[c]);
    }
    packed += columns.stride;
    fours += kGroup;
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; r += kPairs ? 2 : 1) {
    if constexpr (kPairs) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r][c] = _mm512_add_epi32(_mm512_slli_epi32(sums[r][c], 8), sums[r + 1][c]);
    }
    store(kPairs ? r / 2 : r, sums[r]);
  }
}

constexpr int64_t kScoreRows = 6;

// Six rows of scores of one chunk of keys, which Scores::store<C> narrows: a register each of bytes, two of words,
// however many columns there are.
template <int C, class Scores>
[[gnu::noinline]] void score_tile(const ByteRows& rows, const Columns& columns, const int32_t* starts,
                                  const Scores& scores, uint8_t* y, int64_t y_stride) {
  tile<kScoreRows, C, false>(rows, columns, starts, [&](int row, const __m512i* sums) {
    __m512i values[4] = {};
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) values[c] = sums[c];
    scores.template store<C>(values, y + row * y_stride);
  });
}

// By the number of registers, 1 to 4.
template <class Scores>
constexpr decltype(&score_tile<1, Scores>) kScoreTiles[] = {score_tile<1, Scores>, score_tile<2, Scores>,
                                                            score_tile<3, Scores>, score_tile<4, Scores>};

// Requantised to bytes.
template <bool kShifted>
struct ByteScores {
  template <int C>
  void store(__m512i (&sums)[4], uint8_t* y) const {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums[c] = scale.requantize<kShifted>(sums[c]);
    const __m512i packed = packs_of(sums);
    _mm512_store_si512(y, C == 4 ? packed : natural_order(packed));
  }

  UniformScale scale;
};

// The tile that requantises to bytes, for 1 to 4 registers of columns.
inline void score_bytes(int64_t registers, const UniformScale& scale, const ByteRows& rows, const Columns& columns,
                        const int32_t* starts, uint8_t* y, int64_t y_stride) {
  if (scale.shifted) {
    kScoreTiles<ByteScores<true>>[registers - 1](rows, columns, starts, {scale}, y, y_stride);
  } else {
    kScoreTiles<ByteScores<false>>[registers - 1](rows, columns, starts, {scale}, y, y_stride);
  }
}

// The contexts of R rows of probabilities, of half as many for two bytes each: `channels` bytes to y[row], which is
// null for a row that is not wanted. context(row, sums, c) is what sums of register c become.
template <bool kTwoBytes, int R, int C, class Context>
[[gnu::noinline]] void context_tile(const ByteRows& rows, const Columns& columns, const Context& context,
                                    __mmask64 channels, int8_t* const* y) {
  tile<R, C, kTwoBytes>(rows, columns, nullptr, [&](int row, const __m512i* sums) {
    if (y[row] == nullptr) return;
    __m512i values[4] = {};
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) values[c] = context(row, sums[c], c);
    _mm512_mask_storeu_epi8(y[row], channels, pack_bytes(values));
  });
}

// Contexts of probabilities.
struct RequantizedContext {
  __m512i operator()(int, __m512i sums, int c) const { return requantize(sums, scales[c]); }

  const LaneScales* scales;
};

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
