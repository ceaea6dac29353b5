// The inner loop of all 256-bit matrix products: 12 registers of accumulators, two of weights, one of row values.
#include "kernels/cpu/x86/avx2/tile.h"

#include <immintrin.h>

#include <chrono>
#include <cstring>

#include "kernels/cpu/x86/avx2/kernels.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

inline __m256i load(const uint8_t* values) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(values)); }

inline void store(int32_t* target, __m256i values) { _mm256_store_si256(reinterpret_cast<__m256i*>(target), values); }

// vpmaddubsw, on bytes, would saturate at 16 bits: it is not exact.
struct Avx2 {
  static constexpr int64_t kProducts = 16;
  static void multiply_add(__m256i& sum, __m256i weights, __m256i values) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(weights, values));
  }
};

// In assembly: the only instruction beyond AVX2, and compilers copy accumulators around the intrinsic.
struct AvxVnni {
  static constexpr int64_t kProducts = 32;
  static void multiply_add(__m256i& sum, __m256i weights, __m256i values) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(weights), "x"(values));
  }
};

struct AvxVnniUnsignedRows {
  static void multiply_add(__m256i& sum, __m256i weights, __m256i values) {
    AvxVnni::multiply_add(sum, values, weights);
  }
};

template <class Isa, int N>
void tile(const TileRows& rows, const uint8_t* weights, int64_t steps, int32_t* sums, int64_t sums_stride) {
#define IVIT_START(r)                                                        \
  __m256i low##r = _mm256_set1_epi32(N > r ? rows.start[N > r ? r : 0] : 0); \
  __m256i high##r = low##r;
  IVIT_FOR_ROWS(IVIT_START)
#undef IVIT_START
  const int64_t row_bytes = rows.row_bytes;
  const uint8_t* values = rows.values;
  for (int64_t k = 0; k < steps; ++k) {
    const __m256i w0 = load(weights);
    const __m256i w1 = load(weights + 32);
#define IVIT_MULTIPLY(r)                                     \
  if constexpr (N > r) {                                     \
    int32_t four;                                            \
    std::memcpy(&four, values + r * row_bytes, sizeof four); \
    const __m256i broadcast = _mm256_set1_epi32(four);       \
    Isa::multiply_add(low##r, w0, broadcast);                \
    Isa::multiply_add(high##r, w1, broadcast);               \
  }
    IVIT_FOR_ROWS(IVIT_MULTIPLY)
#undef IVIT_MULTIPLY
    weights += kTileStepBytes;
    values += 4;
  }
#define IVIT_KEEP(r)                            \
  if constexpr (N > r) {                        \
    store(sums + r * sums_stride, low##r);      \
    store(sums + r * sums_stride + 8, high##r); \
  }
  IVIT_FOR_ROWS(IVIT_KEEP)
#undef IVIT_KEEP
}

template <class Isa>
double measure_peak(double seconds) {
  constexpr int64_t kSteps = 100000;
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
          s10 = s0, s11 = s0;
  __m256i values = _mm256_set1_epi8(3);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t steps = 0;
  for (; elapsed < seconds; elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int64_t i = 0; i < kSteps; ++i) {
      // As if the operand changed each time, so that no product is shared or taken out of the loop.
#define IVIT_STEP(sum)    \
  asm("" : "+x"(values)); \
  Isa::multiply_add(sum, values, values)
      IVIT_STEP(s0);
      IVIT_STEP(s1);
      IVIT_STEP(s2);
      IVIT_STEP(s3);
      IVIT_STEP(s4);
      IVIT_STEP(s5);
      IVIT_STEP(s6);
      IVIT_STEP(s7);
      IVIT_STEP(s8);
      IVIT_STEP(s9);
      IVIT_STEP(s10);
      IVIT_STEP(s11);
#undef IVIT_STEP
    }
    // Keeps the compiler from leaving out what nobody reads.
    asm volatile("" ::"x"(s0), "x"(s1), "x"(s2), "x"(s3), "x"(s4), "x"(s5));
    asm volatile("" ::"x"(s6), "x"(s7), "x"(s8), "x"(s9), "x"(s10), "x"(s11));
    steps += kSteps;
  }
  return static_cast<double>(steps * 12 * Isa::kProducts) / elapsed * 1e-9;
}

}  // namespace

#define IVIT_TILES(isa) {tile<isa, 1>, tile<isa, 2>, tile<isa, 3>, tile<isa, 4>, tile<isa, 5>, tile<isa, 6>}
const Tile kTileAvx2[kTileRows] = IVIT_TILES(Avx2);
const Tile kTileAvxVnni[kTileRows] = IVIT_TILES(AvxVnni);
const Tile kTileAvxVnniUnsignedRows[kTileRows] = IVIT_TILES(AvxVnniUnsignedRows);

double peak(double seconds) { return measure_peak<Avx2>(seconds); }

double peak_vnni(double seconds) { return measure_peak<AvxVnni>(seconds); }

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
