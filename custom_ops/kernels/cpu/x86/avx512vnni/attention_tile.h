// The two products of attention: rows of unsigned bytes (queries + 128, probabilities) times up to 64 columns (keys,
// values), requantised to bytes as soon as they are complete.
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

// Columns of `groups` fours, `stride` bytes from one four to the next.
struct Columns {
  const int8_t* packed;
  int64_t stride;
  int64_t groups;
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

// Six rows of scores, requantised to int8. Each takes 64 bytes, however many columns there are.
template <int C, bool kShifted>
[[gnu::noinline]] void score_tile(const ByteRows& rows, const Columns& columns, const int32_t* starts,
                                  const UniformScale& scale, uint8_t* y, int64_t y_stride) {
  tile<kScoreRows, C, false>(rows, columns, starts, [&](int row, const __m512i* sums) {
    __m512i scores[4] = {};
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) scores[c] = scale.requantize<kShifted>(sums[c]);
    _mm512_storeu_si512(y + row * y_stride, pack_bytes(scores));
  });
}

template <bool kShifted>
constexpr decltype(&score_tile<1, kShifted>) kScoreTiles[] = {score_tile<1, kShifted>, score_tile<2, kShifted>,
                                                              score_tile<3, kShifted>, score_tile<4, kShifted>};

// The one for 1 to 4 registers of columns.
inline auto choose_score_tile(int64_t registers, const UniformScale& scale) {
  return (scale.shifted ? kScoreTiles<true> : kScoreTiles<false>)[registers - 1];
}

// The contexts of R rows of probabilities, of half as many for two bytes each: `channels` bytes to y[row], which is
// null for a row that is not wanted.
template <bool kTwoBytes, int R, int C>
[[gnu::noinline]] void context_tile(const ByteRows& rows, const Columns& columns, const LaneScales* scales,
                                    __mmask64 channels, int8_t* const* y) {
  tile<R, C, kTwoBytes>(rows, columns, nullptr, [&](int row, const __m512i* sums) {
    if (y[row] == nullptr) return;
    __m512i values[4] = {};
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) values[c] = requantize(sums[c], scales[c]);
    _mm512_mask_storeu_epi8(y[row], channels, pack_bytes(values));
  });
}

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
