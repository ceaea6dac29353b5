// The matrix products with 256-bit registers: 6 rows x 16 columns in 12 of them, the whole inner dimension in one go.
//
// Both instruction sets take four bytes of a row, repeated in all lanes, and 64 bytes of weights a step:
//   AVX2      two values of 16 bits, vpmaddwd and vpaddd. vpmaddubsw, on bytes, saturates at 16 bits and is not exact.
//             Weights stay bytes in memory; a panel is widened once for each block of rows.
//   AVX-VNNI  four bytes, vpdpbusd. Weights are packed as w + 128, and accumulators start at -128 * (sum of the row).
#include "kernels/cpu/matmul_avx2.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/cpu/matmul_epilogue_avx2.h"
#include "kernels/cpu/target_avx2.h"

namespace ivit::cpu {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kStepBytes = 64;
// A block of rows stays in the second-level cache.
constexpr int64_t kBlockBytes = 256 * 1024;
constexpr int64_t kMaxBlockRows = 192;

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

inline __m256i load(const void* values) { return _mm256_load_si256(static_cast<const __m256i*>(values)); }

inline void store(void* target, __m256i values) { _mm256_store_si256(static_cast<__m256i*>(target), values); }

inline __m256i widen(const void* bytes) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(bytes)));
}

// A block of rows as the inner loop reads them, and the values that their accumulators start with.
struct RowBlock {
  const uint8_t* rows;
  int64_t row_bytes;
  const int32_t* start;
};

struct Avx2 {
  static constexpr int64_t kGroup = 2;
  static constexpr int64_t kValueBytes = 2;
  static constexpr int kWeightOffset = 0;

  static void multiply_add(__m256i& sum, __m256i weights, __m256i values) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(weights, values));
  }

  static int32_t prepare_row(const int8_t* x, int64_t inner, uint8_t* target) {
    int64_t k = 0;
    for (; k + 16 <= inner; k += 16) store(target + kValueBytes * k, widen(x + k));
    if (k < inner) {
      int8_t rest[16] = {};
      std::memcpy(rest, x + k, static_cast<size_t>(inner - k));
      store(target + kValueBytes * k, widen(rest));
    }
    return 0;
  }

  static const uint8_t* prepare_panel(const uint8_t* packed, int64_t steps, uint8_t* target) {
    for (int64_t at = 0; at < steps * kStepBytes; at += 32) store(target + at, widen(packed + at / kValueBytes));
    return target;
  }
};

struct AvxVnni {
  static constexpr int64_t kGroup = 4;
  static constexpr int64_t kValueBytes = 1;
  static constexpr int kWeightOffset = 128;

  // In assembly: the only instruction beyond AVX2, and compilers copy accumulators around the intrinsic.
  static void multiply_add(__m256i& sum, __m256i weights, __m256i values) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(weights), "x"(values));
  }

  static int32_t prepare_row(const int8_t* x, int64_t inner, uint8_t* target) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums = _mm256_setzero_si256();
    int64_t k = 0;
    for (; k + 16 <= inner; k += 16) {
      std::memcpy(target + k, x + k, 16);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(widen(x + k), ones));
    }
    int8_t rest[16] = {};
    std::memcpy(rest, x + k, static_cast<size_t>(inner - k));
    if (k < inner) std::memcpy(target + k, rest, 16);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(widen(rest), ones));
    alignas(32) uint32_t lanes[8];
    store(lanes, sums);
    uint32_t sum = 0;
    for (const uint32_t lane : lanes) sum += lane;
    return static_cast<int32_t>(0 - 128 * sum);
  }

  static const uint8_t* prepare_panel(const uint8_t* packed, int64_t, uint8_t*) { return packed; }
};

// N rows times one panel: N x 16 accumulators.
template <class Isa, int N>
[[gnu::noinline]] void tile(const RowBlock& block, int64_t row, const uint8_t* weights, int64_t steps, int32_t* sums) {
#define IVIT_START(r)                                                                 \
  __m256i low##r = _mm256_set1_epi32(N > r ? block.start[row + (N > r ? r : 0)] : 0); \
  __m256i high##r = low##r;
  IVIT_FOR_ROWS(IVIT_START)
#undef IVIT_START
  const int64_t row_bytes = block.row_bytes;
  const uint8_t* values = block.rows + row * row_bytes;
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
    weights += kStepBytes;
    values += 4;
  }
#define IVIT_KEEP(r)                          \
  if constexpr (N > r) {                      \
    store(sums + r * kYmmPanel, low##r);      \
    store(sums + r * kYmmPanel + 8, high##r); \
  }
  IVIT_FOR_ROWS(IVIT_KEEP)
#undef IVIT_KEEP
}

template <class Isa>
constexpr decltype(&tile<Isa, kRows>) kTiles[kRows] = {tile<Isa, 1>, tile<Isa, 2>, tile<Isa, 3>,
                                                       tile<Isa, 4>, tile<Isa, 5>, tile<Isa, 6>};

template <class Isa>
void compute(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
             int64_t last_panel, const Epilogue& epilogue) {
  const StoreTile store_sums = choose_store_avx2(linear, epilogue);
  const int64_t steps = linear.padded_inner / Isa::kGroup;
  const int64_t row_bytes = round_up(linear.inner, 16) * Isa::kValueBytes;
  const int64_t fitting = kBlockBytes / std::max<int64_t>(1, row_bytes) / kRows * kRows;
  const Split blocks(rows, divide_up(rows, std::clamp(fitting, kRows, kMaxBlockRows)), kRows);
  const AlignedArray<uint8_t> prepared(kMaxBlockRows * row_bytes);
  const AlignedArray<uint8_t> panel(Isa::kGroup == 2 ? steps * kStepBytes : 0);
  int32_t start[kMaxBlockRows];
  alignas(32) int32_t sums[kRows * kYmmPanel];
  for (int64_t b = 0; b < blocks.count(); ++b) {
    const int64_t first = blocks.begin(b);
    const int64_t count = blocks.end(b) - first;
    for (int64_t row = 0; row < count; ++row) {
      start[row] = Isa::prepare_row(x + (first + row) * x_stride, linear.inner, prepared.get() + row * row_bytes);
    }
    const RowBlock block{prepared.get(), row_bytes, start};
    for (int64_t p = first_panel; p < last_panel; ++p) {
      const uint8_t* weights = Isa::prepare_panel(linear.panel(p), steps, panel.get());
      for (int64_t row = 0; row < count; row += kRows) {
        const int64_t tile_rows = std::min(kRows, count - row);
        kTiles<Isa>[tile_rows - 1](block, row, weights, steps, sums);
        store_sums(sums, first + row, tile_rows, p, linear, epilogue);
      }
    }
  }
}

// What `Isa` multiplies and adds in `seconds`, in units of 10^9 a second.
template <class Isa>
double peak(double seconds) {
  constexpr int64_t kSteps = 100000;
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0,
          s10 = s0, s11 = s0;
  __m256i values = _mm256_set1_epi8(3);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t steps = 0;
  for (; elapsed < seconds; elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int64_t i = 0; i < kSteps; ++i) {
      // Nothing is known about the operands, so that no product can be taken out of the loop or shared.
#define IVIT_STEP(sum)    \
  asm("" : "+x"(values)); \
  Isa::multiply_add(sum, values, values);
      IVIT_STEP(s0)
      IVIT_STEP(s1) IVIT_STEP(s2) IVIT_STEP(s3) IVIT_STEP(s4) IVIT_STEP(s5) IVIT_STEP(s6) IVIT_STEP(s7) IVIT_STEP(s8)
          IVIT_STEP(s9) IVIT_STEP(s10) IVIT_STEP(s11)
#undef IVIT_STEP
    }
    asm volatile("" : : "x"(s0), "x"(s1), "x"(s2), "x"(s3), "x"(s4), "x"(s5));
    asm volatile("" : : "x"(s6), "x"(s7), "x"(s8), "x"(s9), "x"(s10), "x"(s11));
    steps += kSteps;
  }
  return static_cast<double>(steps) * 12 * 8 * Isa::kGroup / elapsed * 1e-9;
}

}  // namespace

const MatmulKernel kMatmulAvx2 = {{kYmmPanel, Avx2::kGroup, Avx2::kWeightOffset, kYmmOrder}, kRows, compute<Avx2>};
const MatmulKernel kMatmulAvxVnni = {
    {kYmmPanel, AvxVnni::kGroup, AvxVnni::kWeightOffset, kYmmOrder}, kRows, compute<AvxVnni>};

double peak_avx2(double seconds) { return peak<Avx2>(seconds); }

double peak_avxvnni(double seconds) { return peak<AvxVnni>(seconds); }

}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
