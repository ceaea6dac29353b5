// Tables of 256 bytes with AVX-512 VBMI: one for all, or one for each row.
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kRows = 8;

int8_t row_max(const int8_t* values, int64_t channels) {
  const __m512i lowest = _mm512_set1_epi8(INT8_MIN);
  __m512i even = lowest;
  __m512i odd = lowest;
  int64_t c = 0;
  for (; c + 128 <= channels; c += 128) {
    even = _mm512_max_epi8(even, _mm512_loadu_si512(values + c));
    odd = _mm512_max_epi8(odd, _mm512_loadu_si512(values + c + 64));
  }
  for (; c < channels; c += 64) {
    even = _mm512_max_epi8(even, _mm512_mask_loadu_epi8(lowest, first_bytes(channels - c), values + c));
  }
  return static_cast<int8_t>(_mm_cvtsi128_si32(max_byte(_mm512_max_epi8(even, odd))));
}

}  // namespace

void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  const ByteTable bytes(table);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(y + i, bytes(_mm512_loadu_si512(x + i)));
  if (i < count) {
    const __mmask64 mask = first_bytes(count - i);
    _mm512_mask_storeu_epi8(y + i, mask, bytes(_mm512_maskz_loadu_epi8(mask, x + i)));
  }
}

void look_up_rows(int8_t* x, int64_t rows, int64_t channels, const RowTables& tables, uint8_t* chosen) {
  // The maxima of a few rows first, so that look-ups need not wait for them.
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t count = std::min(kRows, rows - first);
    for (int64_t row = first; row < first + count; ++row) {
      chosen[row] = tables.numbers[static_cast<uint8_t>(row_max(x + row * channels, channels))];
    }
    for (int64_t row = first; row < first + count; ++row) {
      int8_t* values = x + row * channels;
      look_up(reinterpret_cast<const uint8_t*>(values), channels, tables.table(chosen[row]), values);
    }
  }
}

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
