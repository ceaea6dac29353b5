// The matrix product with AVX-512 VNNI: 6 rows x 64 columns in 24 registers, the whole inner dimension in one go.
//
// vpdpbusd multiplies unsigned by signed bytes. Weights are packed as w + 128, the activations stay signed, and
// 128 * (sum of the row) is taken off the accumulators in the epilogue.
#include "kernels/cpu/matmul_avx512vnni.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/cpu/prefetch.h"
#include "kernels/cpu/target_avx512vnni.h"

namespace ivit::cpu {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kColumns = 64;
constexpr int64_t kLanes = 16;
constexpr int64_t kGroup = 4;
// Rows whose sums are kept at hand; more are taken block by block.
constexpr int64_t kBlockRows = 192;

// Column 16 * L + 4 * j + i of a panel stands in lane 4 * L + i of register j: the two saturating packs of four
// registers, which work inside 128-bit lanes, then give 64 bytes in natural order.
constexpr struct Order {
  uint8_t columns[kColumns] = {};
  constexpr Order() {
    for (int j = 0; j < 4; ++j) {
      for (int lane = 0; lane < 16; ++lane)
        columns[16 * j + lane] = static_cast<uint8_t>(lane / 4 * 16 + j * 4 + lane % 4);
    }
  }
} kOrder;

// An instruction in assembly, because compilers copy accumulators around the intrinsic when so many are alive.
#define IVIT_DOT(accumulator, weights, values) \
  asm("vpdpbusd %2, %1, %0" : "+v"(accumulator) : "v"(weights), "v"(values))

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

inline __m512i load(const int32_t* values) { return _mm512_load_si512(values); }

// Upper halves of the 64-bit products of 16 lanes; `b_odd` has the odd lanes of b in the even places.
inline __m512i multiply_high(__m512i a, __m512i b, __m512i b_odd) {
  const __m512i even = _mm512_mul_epi32(a, b);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), b_odd);
  return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_CDAB);
}

// Requantisation constants of the 64 columns of a panel.
struct Panel {
  Panel(const PackedLinear& linear, int64_t panel)
      : weight(linear.panel(panel)),
        bias(linear.bias.get() + panel * kColumns),
        multiplier(linear.multiplier.get() + panel * kColumns),
        multiplier_odd(linear.multiplier_odd.get() + panel * kColumns),
        count(std::min(kColumns, linear.columns - panel * kColumns)),
        mask(_cvtu64_mask64(~uint64_t{0} >> (64 - count))),
        shifted(linear.shifted),
        pre_shift(linear.pre_shift.get() + panel * kColumns),
        rounding(linear.rounding.get() + panel * kColumns),
        post_shift(linear.post_shift.get() + panel * kColumns) {}

  // What an accumulator of a row starts with: the bias, less what the offset of the weights adds to the row.
  __m512i start(int j, __m512i correction) const { return _mm512_sub_epi32(load(bias + kLanes * j), correction); }

  __m512i without_bias(__m512i accumulator, int j) const {
    return _mm512_sub_epi32(accumulator, load(bias + kLanes * j));
  }

  __m512i shift(__m512i accumulator, int j) const {
    return _mm512_sllv_epi32(accumulator, load(pre_shift + kLanes * j));
  }

  __m512i requantize(__m512i accumulator, int j) const {
    const __m512i high = multiply_high(accumulator, load(multiplier + kLanes * j), load(multiplier_odd + kLanes * j));
    return _mm512_srav_epi32(_mm512_add_epi32(high, load(rounding + kLanes * j)), load(post_shift + kLanes * j));
  }

  const uint8_t* weight;
  const int32_t* bias;
  const int32_t* multiplier;
  const int32_t* multiplier_odd;
  int64_t count;
  // The columns that exist.
  __mmask64 mask;
  bool shifted;
  const int32_t* pre_shift;
  const int32_t* rounding;
  const int32_t* post_shift;
};

// A dyadic scale of 16 sign-extended int16 values.
struct VectorScale {
  explicit VectorScale(const NarrowScale& scale)
      : multiplier(_mm512_set1_epi32(scale.multiplier)),
        pre_shift(_mm512_set1_epi32(scale.pre_shift)),
        rounding(_mm512_set1_epi32(scale.rounding)),
        post_shift(_mm512_set1_epi32(scale.post_shift)) {}

  __m512i operator()(__m512i values) const {
    const __m512i high = multiply_high(_mm512_sllv_epi32(values, pre_shift), multiplier, multiplier);
    return _mm512_srav_epi32(_mm512_add_epi32(high, rounding), post_shift);
  }

  __m512i multiplier;
  __m512i pre_shift;
  __m512i rounding;
  __m512i post_shift;
};

inline __m512i widen(__m256i values) { return _mm512_cvtepi16_epi32(values); }

// What stores one row of a tile: four registers of accumulators of `panel`, at `column` of row `row`.
class Int8Store {
 public:
  void fetch(int64_t, int64_t) const {}
  // Takes accumulators after their pre_shift.
  static constexpr bool kShifts = true;
  explicit Int8Store(const Epilogue& epilogue) : y_(static_cast<int8_t*>(epilogue.y)), stride_(epilogue.stride) {}
  void operator()(const Panel& panel, int64_t row, int64_t column, __m512i a0, __m512i a1, __m512i a2,
                  __m512i a3) const {
    const __m512i low = _mm512_packs_epi32(panel.requantize(a0, 0), panel.requantize(a1, 1));
    const __m512i high = _mm512_packs_epi32(panel.requantize(a2, 2), panel.requantize(a3, 3));
    _mm512_mask_storeu_epi8(y_ + row * stride_ + column, panel.mask, _mm512_packs_epi16(low, high));
  }

 private:
  int8_t* y_;
  int64_t stride_;
};

// int16 in natural order: two registers of 32 values.
struct Branch {
  Branch(const Panel& panel, __m512i a0, __m512i a1, __m512i a2, __m512i a3) {
    const __m512i low = _mm512_packs_epi32(panel.requantize(a0, 0), panel.requantize(a1, 1));
    const __m512i high = _mm512_packs_epi32(panel.requantize(a2, 2), panel.requantize(a3, 3));
    // Lane L of `low` has columns 16 * L + 0..7, that of `high` the next eight.
    values[0] = _mm512_permutex2var_epi64(low, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), high);
    values[1] = _mm512_permutex2var_epi64(low, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), high);
  }
  __m512i values[2];
};

class Int16Store {
 public:
  void fetch(int64_t, int64_t) const {}
  // Takes accumulators after their pre_shift.
  static constexpr bool kShifts = true;
  explicit Int16Store(const Epilogue& epilogue) : y_(static_cast<int16_t*>(epilogue.y)), stride_(epilogue.stride) {}
  void operator()(const Panel& panel, int64_t row, int64_t column, __m512i a0, __m512i a1, __m512i a2,
                  __m512i a3) const {
    const Branch branch(panel, a0, a1, a2, a3);
    int16_t* y = y_ + row * stride_ + column;
    _mm512_mask_storeu_epi16(y, static_cast<__mmask32>(panel.mask), branch.values[0]);
    _mm512_mask_storeu_epi16(y + 32, static_cast<__mmask32>(panel.mask >> 32), branch.values[1]);
  }

 private:
  int16_t* y_;
  int64_t stride_;
};

// The branch scaled, plus the scaled residual or the position table, clamped to int16.
template <bool kPosition>
class SumStore {
 public:
  // Asks for what the epilogue of a row will touch: it is too far apart, row by row, for the processor to foresee.
  void fetch(int64_t row, int64_t column) const {
    const int64_t at = row * stride_ + column;
    for (int64_t line = 0; line < kColumns; line += 32) {
      if constexpr (!kPosition) __builtin_prefetch(residual_ + at + line);
      __builtin_prefetch(y_ + at + line, 1);
    }
  }

  // Takes accumulators after their pre_shift.
  static constexpr bool kShifts = true;
  explicit SumStore(const Epilogue& epilogue)
      : y_(static_cast<int16_t*>(epilogue.y)),
        stride_(epilogue.stride),
        branch_scale_(epilogue.branch),
        residual_(epilogue.residual),
        residual_scale_(epilogue.residual_scale),
        position_(epilogue.position) {}
  void operator()(const Panel& panel, int64_t row, int64_t column, __m512i a0, __m512i a1, __m512i a2,
                  __m512i a3) const {
    const Branch branch(panel, a0, a1, a2, a3);
    const int64_t at = row * stride_ + column;
    for (int half = 0; half < 2; ++half) {
      const int64_t first = at + 32 * half;
      const __mmask32 mask = static_cast<__mmask32>(panel.mask >> (32 * half));
      __m512i low = branch_scale_(widen(_mm512_castsi512_si256(branch.values[half])));
      __m512i high = branch_scale_(widen(_mm512_extracti64x4_epi64(branch.values[half], 1)));
      if constexpr (kPosition) {
        low = _mm512_add_epi32(low, position(first, static_cast<__mmask16>(mask)));
        high = _mm512_add_epi32(high, position(first + kLanes, static_cast<__mmask16>(mask >> 16)));
      } else {
        const __m512i residual = _mm512_maskz_loadu_epi16(mask, residual_ + first);
        low = _mm512_add_epi32(low, residual_scale_(widen(_mm512_castsi512_si256(residual))));
        high = _mm512_add_epi32(high, residual_scale_(widen(_mm512_extracti64x4_epi64(residual, 1))));
      }
      // The pack works inside 128-bit lanes: its halves of low and high alternate.
      const __m512i packed = _mm512_packs_epi32(low, high);
      const __m512i natural = _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), packed);
      _mm512_mask_storeu_epi16(y_ + first, mask, natural);
    }
  }

 private:
  // A scaled branch is below 2^28 in absolute value: with positions bounded far beyond int16, sums do not wrap.
  __m512i position(int64_t first, __mmask16 mask) const {
    const __m512i values = _mm512_maskz_loadu_epi32(mask, position_ + first);
    return _mm512_min_epi32(_mm512_max_epi32(values, _mm512_set1_epi32(-(1 << 30))), _mm512_set1_epi32(1 << 30));
  }

  int16_t* y_;
  int64_t stride_;
  VectorScale branch_scale_;
  const int16_t* residual_;
  VectorScale residual_scale_;
  const int32_t* position_;
};

// The accumulators themselves through the scalar epilogue, which adds the bias.
class ScalarStore {
 public:
  void fetch(int64_t, int64_t) const {}
  static constexpr bool kShifts = false;
  ScalarStore(const PackedLinear& linear, const Epilogue& epilogue) : linear_(linear), epilogue_(epilogue) {}
  void operator()(const Panel& panel, int64_t row, int64_t column, __m512i a0, __m512i a1, __m512i a2,
                  __m512i a3) const {
    alignas(64) int32_t sums[kColumns];
    _mm512_store_si512(sums, panel.without_bias(a0, 0));
    _mm512_store_si512(sums + 16, panel.without_bias(a1, 1));
    _mm512_store_si512(sums + 32, panel.without_bias(a2, 2));
    _mm512_store_si512(sums + 48, panel.without_bias(a3, 3));
    store_scalar(sums, row, column, column + panel.count, linear_, epilogue_);
  }

 private:
  const PackedLinear& linear_;
  const Epilogue& epilogue_;
};

// Rows [row, row + N) of x times one panel.
template <int N, class Store>
[[gnu::noinline]] void tile(const int8_t* x, int64_t x_stride, int64_t row, const int32_t* row_sums, const Panel& panel,
                            int64_t groups, int64_t column, const Store& store) {
#define IVIT_FETCH(r) \
  if constexpr (N > r) store.fetch(row + r, column);
  IVIT_FOR_ROWS(IVIT_FETCH)
#undef IVIT_FETCH
#define IVIT_START(r)                                          \
  __m512i s##r##0, s##r##1, s##r##2, s##r##3;                  \
  if constexpr (N > r) {                                       \
    const __m512i correction = _mm512_set1_epi32(row_sums[r]); \
    s##r##0 = panel.start(0, correction);                      \
    s##r##1 = panel.start(1, correction);                      \
    s##r##2 = panel.start(2, correction);                      \
    s##r##3 = panel.start(3, correction);                      \
  }
  IVIT_FOR_ROWS(IVIT_START)
#undef IVIT_START
  const uint8_t* w = panel.weight;
  const int8_t* values = x + row * x_stride;
  for (int64_t k = 0; k < groups; ++k) {
    const __m512i w0 = _mm512_load_si512(w);
    const __m512i w1 = _mm512_load_si512(w + 64);
    const __m512i w2 = _mm512_load_si512(w + 128);
    const __m512i w3 = _mm512_load_si512(w + 192);
#define IVIT_MULTIPLY(r)                                    \
  if constexpr (N > r) {                                    \
    int32_t four;                                           \
    std::memcpy(&four, values + r * x_stride, sizeof four); \
    const __m512i broadcast = _mm512_set1_epi32(four);      \
    IVIT_DOT(s##r##0, w0, broadcast);                       \
    IVIT_DOT(s##r##1, w1, broadcast);                       \
    IVIT_DOT(s##r##2, w2, broadcast);                       \
    IVIT_DOT(s##r##3, w3, broadcast);                       \
  }
    IVIT_FOR_ROWS(IVIT_MULTIPLY)
#undef IVIT_MULTIPLY
    w += kGroup * kColumns;
    values += kGroup;
  }
#define IVIT_SHIFT(r)                  \
  if constexpr (N > r) {               \
    s##r##0 = panel.shift(s##r##0, 0); \
    s##r##1 = panel.shift(s##r##1, 1); \
    s##r##2 = panel.shift(s##r##2, 2); \
    s##r##3 = panel.shift(s##r##3, 3); \
  }
  if (Store::kShifts && panel.shifted) {
    IVIT_FOR_ROWS(IVIT_SHIFT)
  }
#undef IVIT_SHIFT
#define IVIT_STORE(r)                                                  \
  if constexpr (N > r) {                                               \
    store(panel, row + r, column, s##r##0, s##r##1, s##r##2, s##r##3); \
  }
  IVIT_FOR_ROWS(IVIT_STORE)
#undef IVIT_STORE
}

// 128 times the sum of each row.
void sum_rows(const int8_t* x, int64_t x_stride, int64_t rows, int64_t inner, int32_t* sums) {
  const __m512i weights = _mm512_set1_epi8(static_cast<char>(128));
  for (int64_t row = 0; row < rows; ++row) {
    const int8_t* values = x + row * x_stride;
    __m512i sum = _mm512_setzero_si512();
    int64_t k = 0;
    for (; k + 64 <= inner; k += 64) sum = _mm512_dpbusd_epi32(sum, weights, _mm512_loadu_si512(values + k));
    if (k < inner) {
      const __mmask64 mask = _cvtu64_mask64(~uint64_t{0} >> (64 - (inner - k)));
      sum = _mm512_dpbusd_epi32(sum, weights, _mm512_maskz_loadu_epi8(mask, values + k));
    }
    sums[row] = _mm512_reduce_add_epi32(sum);
  }
}

template <class Store>
void compute_with(const Store& store, const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear,
                  int64_t first_panel, int64_t last_panel) {
  const int64_t groups = linear.padded_inner / kGroup;
  int32_t sums[kBlockRows];
  for (int64_t block = 0; block < rows; block += kBlockRows) {
    const int64_t block_end = std::min(rows, block + kBlockRows);
    sum_rows(x + block * x_stride, x_stride, block_end - block, linear.inner, sums);
    for (int64_t p = first_panel; p < last_panel; ++p) {
      const Panel panel(linear, p);
      const bool last = p + 1 == last_panel;
      const Prefetch next(linear.panel(last ? p : p + 1), last ? 0 : kColumns * linear.padded_inner,
                          divide_up(block_end - block, kRows));
      const int64_t column = p * kColumns;
      int64_t row = block;
      for (; row + kRows <= block_end; row += kRows) {
        next.piece((row - block) / kRows);
        tile<kRows>(x, x_stride, row, sums + (row - block), panel, groups, column, store);
      }
      const int32_t* rest = sums + (row - block);
      switch (block_end - row) {
        case 1:
          tile<1>(x, x_stride, row, rest, panel, groups, column, store);
          break;
        case 2:
          tile<2>(x, x_stride, row, rest, panel, groups, column, store);
          break;
        case 3:
          tile<3>(x, x_stride, row, rest, panel, groups, column, store);
          break;
        case 4:
          tile<4>(x, x_stride, row, rest, panel, groups, column, store);
          break;
        case 5:
          tile<5>(x, x_stride, row, rest, panel, groups, column, store);
          break;
        default:
          break;
      }
    }
  }
}

void compute_rows(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
                  int64_t last_panel, const Epilogue& epilogue) {
  const auto run = [&](const auto& store) { compute_with(store, x, x_stride, rows, linear, first_panel, last_panel); };
  switch (epilogue.kind) {
    case Epilogue::Kind::kInt8:
      if (linear.narrow) return run(Int8Store(epilogue));
      break;
    case Epilogue::Kind::kInt16:
      if (linear.narrow) return run(Int16Store(epilogue));
      break;
    case Epilogue::Kind::kAdd16:
      if (linear.narrow && epilogue.branch.narrow && epilogue.residual_scale.narrow) {
        return run(SumStore<false>(epilogue));
      }
      break;
    case Epilogue::Kind::kPlace16:
      if (linear.narrow && epilogue.branch.narrow) return run(SumStore<true>(epilogue));
      break;
    case Epilogue::Kind::kInt32:
      break;
  }
  run(ScalarStore(linear, epilogue));
}

void compute(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, int64_t first_panel,
             int64_t last_panel, const Epilogue& epilogue) {
  if (linear.inner == linear.padded_inner) {
    compute_rows(x, x_stride, rows, linear, first_panel, last_panel, epilogue);
    return;
  }
  // The last group of a row would reach into the next one: rows are copied, a few at a time, and padded.
  const AlignedArray<int8_t> padded(kBlockRows * linear.padded_inner);
  for (int64_t first = 0; first < rows; first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows - first);
    for (int64_t row = 0; row < count; ++row) {
      int8_t* target = padded.get() + row * linear.padded_inner;
      std::memcpy(target, x + (first + row) * x_stride, static_cast<size_t>(linear.inner));
      std::memset(target + linear.inner, 0, static_cast<size_t>(linear.padded_inner - linear.inner));
    }
    compute_rows(padded.get(), linear.padded_inner, count, linear, first_panel, last_panel, epilogue.from_row(first));
  }
}

}  // namespace

const MatmulKernel kMatmulAvx512Vnni = {{kColumns, kGroup, 128, kOrder.columns}, kRows, compute};

double peak_avx512vnni(double seconds) {
  constexpr int64_t kSteps = 100000;
  __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0,
          a10 = a0, a11 = a0;
  const __m512i values = _mm512_set1_epi8(3);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t steps = 0;
  for (; elapsed < seconds; elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int64_t i = 0; i < kSteps; ++i) {
      IVIT_DOT(a0, values, values);
      IVIT_DOT(a1, values, values);
      IVIT_DOT(a2, values, values);
      IVIT_DOT(a3, values, values);
      IVIT_DOT(a4, values, values);
      IVIT_DOT(a5, values, values);
      IVIT_DOT(a6, values, values);
      IVIT_DOT(a7, values, values);
      IVIT_DOT(a8, values, values);
      IVIT_DOT(a9, values, values);
      IVIT_DOT(a10, values, values);
      IVIT_DOT(a11, values, values);
    }
    // Keeps the compiler from leaving out what nobody reads.
    asm volatile("" ::"v"(a0), "v"(a1), "v"(a2), "v"(a3), "v"(a4), "v"(a5));
    asm volatile("" ::"v"(a6), "v"(a7), "v"(a8), "v"(a9), "v"(a10), "v"(a11));
    steps += kSteps;
  }
  return static_cast<double>(steps) * 12 * 64 / elapsed * 1e-9;
}

bool supports_avx512vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

}  // namespace ivit::cpu

#include "kernels/cpu/target_end.h"
