// The innermost loop of all matrix products of the portable path.
#pragma once

#include <cstdint>

namespace ivit::cpu::generic {

// Rows are padded to a multiple of this many int16 elements: one vector register on the smallest machines.
constexpr int64_t kDotPadding = 8;

constexpr int64_t kDotRows = 4;
constexpr int64_t kDotColumns = 2;

// Inner products of four rows of `a` with two rows of `b`, each `length` elements apart from the next; sums[r][c] is
// written to sums + r * sums_stride + c. Eight independent sums are what compilers keep in 16 vector registers; they
// turn each into multiply-add instructions of 16-bit pairs. Unsigned sums wrap without undefined behaviour.
inline void dot_4x2(const int16_t* a, const int16_t* b, int64_t length, int32_t* sums, int64_t sums_stride) {
  const int16_t *a0 = a, *a1 = a + length, *a2 = a + 2 * length, *a3 = a + 3 * length;
  const int16_t *b0 = b, *b1 = b + length;
  uint32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
  for (int64_t i = 0; i < length; ++i) {
    s00 += static_cast<uint32_t>(a0[i] * b0[i]);
    s01 += static_cast<uint32_t>(a0[i] * b1[i]);
    s10 += static_cast<uint32_t>(a1[i] * b0[i]);
    s11 += static_cast<uint32_t>(a1[i] * b1[i]);
    s20 += static_cast<uint32_t>(a2[i] * b0[i]);
    s21 += static_cast<uint32_t>(a2[i] * b1[i]);
    s30 += static_cast<uint32_t>(a3[i] * b0[i]);
    s31 += static_cast<uint32_t>(a3[i] * b1[i]);
  }
  const uint32_t all[kDotRows][kDotColumns] = {{s00, s01}, {s10, s11}, {s20, s21}, {s30, s31}};
  for (int64_t row = 0; row < kDotRows; ++row) {
    for (int64_t column = 0; column < kDotColumns; ++column) {
      sums[row * sums_stride + column] = static_cast<int32_t>(all[row][column]);
    }
  }
}

}  // namespace ivit::cpu::generic
