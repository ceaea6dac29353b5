// Look-ups of bytes with AVX2, by one table for all or by one for each row.
//
// vpshufb looks up 16 entries by the low four bits of an index and gives 0 for a negative index. With d[0] = t[0] and
// d[h] = t[h] ^ t[h - 1] for the sixteens t[h] of a table of 128 bytes, entry i is the exclusive or of all d[h] at the
// index i - 16 * h: those with h <= i / 16 count, and all but t[i / 16] cancel. The upper half of a table of 256 bytes
// is another such table, for the index with its sign turned.
#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/x86/avx2/kernels.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

constexpr int kSixteens = 8;
constexpr int64_t kTogether = 4;

class Table {
 public:
  explicit Table(const int8_t* table) {
    for (int h = 0; h < 2 * kSixteens; ++h) {
      __m128i entries = load16(table + 16 * h);
      if (h % kSixteens != 0) entries = _mm_xor_si128(entries, load16(table + 16 * (h - 1)));
      differences_[h] = _mm256_broadcastsi128_si256(entries);
    }
  }

  // N registers.
  template <int64_t N>
  void run(const uint8_t* x, int8_t* y) const {
    __m256i result[N];
    for (int64_t i = 0; i < N; ++i) result[i] = _mm256_setzero_si256();
    __m256i values[N];
    for (int64_t i = 0; i < N; ++i) values[i] = load(x + 32 * i);
    half<N>(differences_, values, result);
    for (int64_t i = 0; i < N; ++i) {
      values[i] = _mm256_xor_si256(load(x + 32 * i), _mm256_set1_epi8(static_cast<char>(128)));
    }
    half<N>(differences_ + kSixteens, values, result);
    for (int64_t i = 0; i < N; ++i) store(y + 32 * i, result[i]);
  }

 private:
  template <int64_t N>
  static void half(const __m256i* differences, __m256i* index, __m256i* result) {
    for (int h = 0; h < kSixteens; ++h) {
      const __m256i entries = differences[h];
      for (int64_t i = 0; i < N; ++i) {
        result[i] = _mm256_xor_si256(result[i], _mm256_shuffle_epi8(entries, index[i]));
        // Compilers would reorder the sum of all halves and keep its 16 terms in memory.
        asm("" : "+x"(result[i]));
        // Saturating: what is negative stays so.
        index[i] = _mm256_subs_epi8(index[i], _mm256_set1_epi8(16));
      }
    }
  }

  __m256i differences_[2 * kSixteens];
};

int8_t row_max(const int8_t* x, int64_t count) {
  if (count < 32) return count == 0 ? INT8_MIN : *std::max_element(x, x + count);
  // The last register overlaps the one before.
  __m256i largest = load(x + count - 32);
  for (int64_t c = 0; c + 32 <= count; c += 32) largest = _mm256_max_epi8(largest, load(x + c));
  return max_byte(largest);
}

}  // namespace

void look_up(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  const Table vectors(table);
  int64_t i = 0;
  for (; i + 32 * kTogether <= count; i += 32 * kTogether) vectors.run<kTogether>(x + i, y + i);
  for (; i + 32 <= count; i += 32) vectors.run<1>(x + i, y + i);
  for (; i < count; ++i) y[i] = table[x[i]];
}

void look_up_rows(int8_t* x, int64_t rows, int64_t channels, const RowTables& tables, uint8_t* chosen) {
  for (int64_t row = 0; row < rows; ++row) {
    int8_t* values = x + row * channels;
    chosen[row] = tables.numbers[static_cast<uint8_t>(row_max(values, channels))];
    look_up(reinterpret_cast<const uint8_t*>(values), channels, tables.table(chosen[row]), values);
  }
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
