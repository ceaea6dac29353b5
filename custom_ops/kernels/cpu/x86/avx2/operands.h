// How each 256-bit instruction set wants the operands of tile.h. Everything here is compiled for AVX2 and local to
// the file that includes it.
#pragma once

#include "kernels/cpu/x86/avx2/tile.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

inline __m256i widen(__m128i bytes) { return _mm256_cvtepi8_epi16(bytes); }

// Two values of 16 bits per step. Weights stay bytes in memory; a panel is widened before it is used.
struct Avx2Operands {
  static constexpr int64_t kGroup = 2;
  static constexpr int64_t kValueBytes = 2;
  static constexpr int kWeightOffset = 0;
  static constexpr const Tile* kTiles = kTileAvx2;

  // Writes whole multiples of 16 values, zeros behind the row, and returns what its accumulators start with.
  static int32_t prepare_row(const int8_t* x, int64_t count, uint8_t* target) {
    for (int64_t k = 0; k < count; k += 16) store(target + kValueBytes * k, widen(load16(x + k, count - k)));
    return 0;
  }

  // Eight steps of a weight column that has `count` > 0 values from here on.
  static __m256i load_steps(const int8_t* x, int64_t count) { return widen(load16(x, count)); }

  static const uint8_t* prepare_panel(const uint8_t* packed, int64_t steps, uint8_t* target) {
    for (int64_t at = 0; at < steps * kTileStepBytes; at += 32) {
      store(target + at, widen(load16(packed + at / kValueBytes)));
    }
    return target;
  }
};

// Four bytes per step. Weights are unsigned, w + 128; -128 * (sum of the row) makes up for it.
struct AvxVnniOperands {
  static constexpr int64_t kGroup = 4;
  static constexpr int64_t kValueBytes = 1;
  static constexpr int kWeightOffset = 128;
  static constexpr const Tile* kTiles = kTileAvxVnni;

  static int32_t prepare_row(const int8_t* x, int64_t count, uint8_t* target) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums = _mm256_setzero_si256();
    for (int64_t k = 0; k < count; k += 16) {
      const __m128i values = load16(x + k, count - k);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(target + k), values);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(widen(values), ones));
    }
    return static_cast<int32_t>(0 - 128 * static_cast<uint32_t>(add_lanes(sums)));
  }

  static __m256i load_steps(const int8_t* x, int64_t count) {
    const __m128i second = count > 16 ? load16(x + 16, count - 16) : _mm_setzero_si128();
    return _mm256_xor_si256(_mm256_set_m128i(second, load16(x, count)), _mm256_set1_epi8(static_cast<char>(128)));
  }

  static const uint8_t* prepare_panel(const uint8_t* packed, int64_t, uint8_t*) { return packed; }
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
