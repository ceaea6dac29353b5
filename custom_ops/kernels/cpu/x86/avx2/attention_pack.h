// How keys and values of a head become the weights of 256-bit products. Everything here is compiled for AVX2 and local
// to the file that includes it.
#pragma once

#include "kernels/cpu/x86/avx2/operands.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// Probabilities by values, in pairs of 16 bits: any number of fractional bits.
struct PairValues {
  static constexpr int64_t kGroup = 2;
  static constexpr int64_t kValueBytes = 2;
  static constexpr const Tile* kTiles = kTileAvx2;

  static void pack_step(const __m128i* tokens, uint8_t* target) {
    const __m128i low = _mm_unpacklo_epi8(tokens[0], tokens[1]);
    const __m128i high = _mm_unpackhi_epi8(tokens[0], tokens[1]);
    store(target, widen(_mm_unpacklo_epi64(low, high)));
    store(target + 32, widen(_mm_unpackhi_epi64(low, high)));
  }

  static void store_probabilities(uint8_t* row, int64_t at, __m256i values) { store(row + kValueBytes * at, values); }
};

// In fours of bytes, probabilities unsigned: 7 and 8 fractional bits.
struct ByteValues {
  static constexpr int64_t kGroup = 4;
  static constexpr int64_t kValueBytes = 1;
  static constexpr const Tile* kTiles = kTileAvxVnniUnsignedRows;

  static void pack_step(const __m128i* tokens, uint8_t* target) {
    const __m128i low01 = _mm_unpacklo_epi8(tokens[0], tokens[1]), high01 = _mm_unpackhi_epi8(tokens[0], tokens[1]);
    const __m128i low23 = _mm_unpacklo_epi8(tokens[2], tokens[3]), high23 = _mm_unpackhi_epi8(tokens[2], tokens[3]);
    store(target, _mm256_set_m128i(_mm_unpacklo_epi16(high01, high23), _mm_unpacklo_epi16(low01, low23)));
    store(target + 32, _mm256_set_m128i(_mm_unpackhi_epi16(high01, high23), _mm_unpackhi_epi16(low01, low23)));
  }

  static void store_probabilities(uint8_t* row, int64_t at, __m256i values) {
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + at), bytes);
  }
};

// Lane i of register j becomes lane j of register i, stored 64 bytes apart.
inline void store_transposed(const __m256i* rows, uint8_t* target) {
  __m256i pairs[8];
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const __m256i first[2] = {_mm256_unpacklo_epi64(pairs[i], pairs[2 + i]),
                              _mm256_unpackhi_epi64(pairs[i], pairs[2 + i])};
    const __m256i second[2] = {_mm256_unpacklo_epi64(pairs[4 + i], pairs[6 + i]),
                               _mm256_unpackhi_epi64(pairs[4 + i], pairs[6 + i])};
    for (int j = 0; j < 2; ++j) {
      uint8_t* at = target + (2 * i + j) * kTileStepBytes;
      store(at, _mm256_permute2x128_si256(first[j], second[j], 0x20));
      store(at + 4 * kTileStepBytes, _mm256_permute2x128_si256(first[j], second[j], 0x31));
    }
  }
}

// Tokens [first, first + 16) as a panel of steps, a multiple of eight: zeros where there is no token.
template <class Operands, class Tokens>
void pack_keys(const Tokens& tokens, int64_t first, uint8_t* panel) {
  const int64_t step_values = 8 * Operands::kGroup;
  for (int64_t d = 0; d < tokens.head_dim; d += step_values) {
    for (int half = 0; half < 2; ++half) {
      __m256i rows[8];
      for (int lane = 0; lane < 8; ++lane) {
        const int64_t token = first + kTileOrder[8 * half + lane];
        rows[lane] = token < tokens.count ? Operands::load_steps(tokens.key(token) + d, tokens.head_dim - d)
                                          : _mm256_setzero_si256();
      }
      store_transposed(rows, panel + d / Operands::kGroup * kTileStepBytes + 32 * half);
    }
  }
}

// Dimensions [first, first + 16), as far as they exist, of all values as a panel.
template <class Values, class Tokens>
void pack_values(const Tokens& tokens, int64_t first, uint8_t* panel) {
  for (int64_t token = 0; token < tokens.count; token += Values::kGroup) {
    __m128i group[Values::kGroup];
    for (int64_t i = 0; i < Values::kGroup; ++i) {
      group[i] = token + i < tokens.count ? load16(tokens.value(token + i) + first, tokens.head_dim - first)
                                          : _mm_setzero_si128();
    }
    Values::pack_step(group, panel + token / Values::kGroup * kTileStepBytes);
  }
}

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
