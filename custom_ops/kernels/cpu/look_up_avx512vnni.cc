// Tables of 256 bytes with AVX-512 VBMI: elementwise functions of bytes, and ShiftGELU row by row.
#include <immintrin.h>

#include "kernels/cpu/byte_table_avx512vnni.h"
#include "kernels/cpu/look_up.h"
#include "kernels/cpu/shift_gelu.h"
#include "kernels/cpu/target_avx512vnni.h"

namespace ivit::cpu {

void look_up_avx512vnni(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  const ByteTable bytes(table);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(y + i, bytes(_mm512_loadu_si512(x + i)));
  if (i < count) {
    const __mmask64 mask = first_bytes(count - i);
    _mm512_mask_storeu_epi8(y + i, mask, bytes(_mm512_maskz_loadu_epi8(mask, x + i)));
  }
}

void gelu_rows_avx512vnni(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table) {
  const __m512i lowest = _mm512_set1_epi8(INT8_MIN);
  for (int64_t row = 0; row < rows; ++row) {
    int8_t* values = x + row * channels;
    __m512i largest0 = lowest;
    __m512i largest1 = lowest;
    int64_t c = 0;
    for (; c + 128 <= channels; c += 128) {
      largest0 = _mm512_max_epi8(largest0, _mm512_loadu_si512(values + c));
      largest1 = _mm512_max_epi8(largest1, _mm512_loadu_si512(values + c + 64));
    }
    for (; c < channels; c += 64) {
      largest0 = _mm512_max_epi8(largest0, _mm512_mask_loadu_epi8(lowest, first_bytes(channels - c), values + c));
    }
    largest0 = _mm512_max_epi8(largest0, largest1);
    const __m256i half = _mm256_max_epi8(_mm512_castsi512_si256(largest0), _mm512_extracti64x4_epi64(largest0, 1));
    __m128i quarter = _mm_max_epi8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    // 127 - x is unsigned, and there is an instruction for the smallest of eight unsigned 16-bit numbers.
    quarter = _mm_xor_si128(quarter, _mm_set1_epi8(INT8_MAX));
    quarter = _mm_minpos_epu16(_mm_min_epu8(quarter, _mm_srli_epi16(quarter, 8)));
    const auto row_max = static_cast<int8_t>(INT8_MAX - _mm_cvtsi128_si32(quarter) % 256);
    look_up_avx512vnni(reinterpret_cast<const uint8_t*>(values), channels, table.row(row_max), values);
  }
}

}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
