// The matrix product with AVX-512 VNNI: 6 rows x 64 columns in 24 registers, the whole inner dimension in one go. A
// last panel of 32 columns or fewer takes half of them.
//
// vpdpbusd multiplies unsigned by signed bytes. Weights are packed as w + 128, the activations stay signed, and
// 128 * (sum of the row) is taken off the accumulators in the epilogue.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/cpu/prefetch.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/target.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kColumns = 64;
constexpr int64_t kGroup = 4;
// Rows are taken in blocks that a second-level cache holds beside the weights, and whose sums are kept at hand.
constexpr int64_t kBlockBytes = 384 * 1024;
constexpr int64_t kBlockRows = 512;

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

// The weights of 64 columns and a copy of what requantisation needs of them: all of it at one address.
struct Panel {
  void assign(const PackedLinear& linear, int64_t panel) {
    weight = linear.panel(panel);
    column = panel * kColumns;
    shifted = linear.shifted;
    mask = _cvtu64_mask64(~uint64_t{0} >> (64 - std::min(kColumns, linear.columns - column)));
    constexpr int64_t kBytes = kColumns * sizeof(int32_t);
    std::memcpy(bias, linear.bias.get() + column, kBytes);
    std::memcpy(pre_shift, linear.pre_shift.get() + column, kBytes);
    std::memcpy(multiplier, linear.multiplier.get() + column, kBytes);
    std::memcpy(multiplier_odd, linear.multiplier_odd.get() + column, kBytes);
    std::memcpy(rounding, linear.rounding.get() + column, kBytes);
    std::memcpy(post_shift, linear.post_shift.get() + column, kBytes);
  }

  // 16 values as int32, not yet saturated. Reads one element more than that.
  __m512i requantize(const int32_t* sums, int j) const {
    const int64_t at = kLanes * j;
    __m512i values = load(sums + at);
    // The odd lanes in the even places, by a load instead of a shift: shifts keep multiplications waiting.
    __m512i odd_values = _mm512_loadu_si512(sums + at + 1);
    if (shifted) {
      values = _mm512_sllv_epi32(values, load(pre_shift + at));
      odd_values = _mm512_srli_epi64(values, 32);
    }
    const __m512i even = _mm512_mul_epi32(values, load(multiplier + at));
    const __m512i odd = _mm512_mul_epi32(odd_values, load(multiplier_odd + at));
    const __m512i high = merge_high(even, odd);
    return _mm512_srav_epi32(_mm512_add_epi32(high, load(rounding + at)), load(post_shift + at));
  }
  // 32 values as int16: those of registers j and j + 1.
  __m512i requantize16(const int32_t* sums, int j) const {
    return _mm512_packs_epi32(requantize(sums, j), requantize(sums, j + 1));
  }

  alignas(64) int32_t bias[kColumns];
  int32_t pre_shift[kColumns];
  int32_t multiplier[kColumns];
  int32_t multiplier_odd[kColumns];
  int32_t rounding[kColumns];
  int32_t post_shift[kColumns];
  const uint8_t* weight;
  int64_t column;
  bool shifted;
  // The columns that exist.
  __mmask64 mask;
};

// The values of a row as int16, in place of its accumulators.
inline void requantize_row16(const Panel& panel, int32_t* sums) {
  const __m512i low = panel.requantize16(sums, 0);
  const __m512i high = panel.requantize16(sums, 2);
  // The pack works inside 128-bit lanes.
  const __m512i order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  _mm512_store_si512(sums, _mm512_permutexvar_epi64(order, low));
  _mm512_store_si512(sums + kLanes, _mm512_permutexvar_epi64(order, high));
}

// What becomes of a row of accumulators, in `kSteps` steps: between the multiplications of the next tile there is room
// for short ones. `fetch` asks for what the steps will read: rows are too far apart for the processor to foresee it.
class Int8Store {
 public:
  static constexpr int kSteps = 1;
  explicit Int8Store(const Epilogue& epilogue) : y_(static_cast<int8_t*>(epilogue.y)), stride_(epilogue.stride) {}
  void fetch(int64_t, int64_t) const {}
  void operator()(int, const Panel& panel, int64_t row, const int32_t* sums) const {
    const __m512i bytes = _mm512_packs_epi16(panel.requantize16(sums, 0), panel.requantize16(sums, 2));
    _mm512_mask_storeu_epi8(y_ + row * stride_ + panel.column, panel.mask, natural_order(bytes));
  }

 private:
  int8_t* y_;
  int64_t stride_;
};

class Int16Store {
 public:
  static constexpr int kSteps = 1;
  explicit Int16Store(const Epilogue& epilogue) : y_(static_cast<int16_t*>(epilogue.y)), stride_(epilogue.stride) {}
  void fetch(int64_t, int64_t) const {}
  void operator()(int, const Panel& panel, int64_t row, int32_t* sums) const {
    requantize_row16(panel, sums);
    int16_t* y = y_ + row * stride_ + panel.column;
    _mm512_mask_storeu_epi16(y, static_cast<__mmask32>(panel.mask), load(sums));
    _mm512_mask_storeu_epi16(y + 32, static_cast<__mmask32>(panel.mask >> 32), load(sums + kLanes));
  }

 private:
  int16_t* y_;
  int64_t stride_;
};

// The branch scaled, plus the scaled residual or the position table, clamped to int16.
template <bool kPosition>
class SumStore {
 public:
  static constexpr int kSteps = 3;
  static bool takes(const Epilogue& epilogue) {
    return Scale16::takes(epilogue.branch) && (kPosition || Scale16::takes(epilogue.residual_scale));
  }

  explicit SumStore(const Epilogue& epilogue)
      : y_(static_cast<int16_t*>(epilogue.y)),
        stride_(epilogue.stride),
        branch_scale_(epilogue.branch),
        residual_(epilogue.residual),
        residual_scale_(kPosition ? epilogue.branch : epilogue.residual_scale),
        position_(epilogue.position) {}

  void fetch(int64_t row, int64_t column) const {
    const int64_t at = row * stride_ + column;
    if constexpr (!kPosition) {
      __builtin_prefetch(residual_ + at);
      __builtin_prefetch(residual_ + at + 32);
    }
  }

  void operator()(int step, const Panel& panel, int64_t row, int32_t* sums) const {
    if (step == 0) return requantize_row16(panel, sums);
    const int half = step - 1;
    const int64_t at = row * stride_ + panel.column + 32 * half;
    const auto mask = static_cast<__mmask32>(panel.mask >> (32 * half));
    const Pair other = kPosition ? position(at, mask) : residual_scale_(_mm512_maskz_loadu_epi16(mask, residual_ + at));
    _mm512_mask_storeu_epi16(y_ + at, mask, pack(add(branch_scale_(load(sums + kLanes * half)), other)));
  }

 private:
  // A scaled branch is below 2^30 in absolute value: with positions bounded far beyond int16, sums do not wrap.
  __m512i position16(int64_t at, __mmask16 mask) const {
    const __m512i values = _mm512_maskz_loadu_epi32(mask, position_ + at);
    return _mm512_min_epi32(_mm512_max_epi32(values, _mm512_set1_epi32(-(1 << 30))), _mm512_set1_epi32(1 << 30));
  }
  Pair position(int64_t at, __mmask32 mask) const {
    const __m512i first = position16(at, static_cast<__mmask16>(mask));
    const __m512i second = position16(at + kLanes, static_cast<__mmask16>(mask >> 16));
    return {_mm512_permutex2var_epi64(first, _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0), second),
            _mm512_permutex2var_epi64(first, _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2), second)};
  }

  int16_t* y_;
  int64_t stride_;
  Scale16 branch_scale_;
  const int16_t* residual_;
  Scale16 residual_scale_;
  const int32_t* position_;
};

// The scalar epilogue, which adds the bias itself.
class ScalarStore {
 public:
  static constexpr int kSteps = 1;
  ScalarStore(const PackedLinear& linear, const Epilogue& epilogue) : linear_(linear), epilogue_(epilogue) {}
  void fetch(int64_t, int64_t) const {}
  void operator()(int, const Panel& panel, int64_t row, int32_t* sums) const {
    for (int64_t at = 0; at < kColumns; at += kLanes) {
      _mm512_store_si512(sums + at, _mm512_sub_epi32(load(sums + at), load(panel.bias + at)));
    }
    const int64_t last = std::min(panel.column + kColumns, linear_.columns);
    store_scalar(sums, row, panel.column, last, linear_, epilogue_);
  }

 private:
  const PackedLinear& linear_;
  const Epilogue& epilogue_;
};

// The accumulators of a tile that waits for its epilogue. The epilogue of a tile runs step by step between the
// multiplications of the next one: multiplications leave half of the vector units idle.
struct Pending {
  template <class Store>
  void finish(int64_t index, int step, const Store& store) {
    if (index < rows) store(step, *panel, row + index, sums + index * kColumns);
  }

  // Followed by one element that may be read.
  int32_t* sums = nullptr;
  const Panel* panel = nullptr;
  int64_t row = 0;
  int64_t rows = 0;
};

// Memory for the accumulators of a tile. A load that has the last 12 bits of its address in common with a store that
// is still under way has to wait for it. What is stored here must therefore not stand where the next tile starts to
// read its weights: it stands half of 4096 bytes further.
class PendingMemory {
 public:
  int32_t* place_for(const uint8_t* weight) {
    const auto last_bits = [](const void* address) { return reinterpret_cast<uintptr_t>(address) % kSpan; };
    return reinterpret_cast<int32_t*>(memory_ + (last_bits(weight) + kSpan / 2 + kSpan - last_bits(memory_)) % kSpan);
  }

 private:
  static constexpr uintptr_t kSpan = 4096;
  alignas(64) uint8_t memory_[kSpan + (kRows * kColumns + kLanes) * sizeof(int32_t)];
};

// What the tiles of one panel have in common.
struct Pass {
  const int8_t* x;
  int64_t x_stride;
  int64_t groups;
  const Panel& panel;
  // Where the accumulators of a tile wait.
  int32_t* sums;
  Prefetch next_panel;
};

// Rows [row, row + N) of x times C * 16 columns of one panel: accumulators to `pending`, after the epilogue of what was
// pending.
template <int N, int C, class Store>
[[gnu::noinline]] void tile(Pass& pass, int64_t row, const int32_t* row_sums, const Store& store, Pending& pending) {
  const Panel& panel = pass.panel;
  const int64_t x_stride = pass.x_stride;
#define IVIT_START(r)                                                        \
  __m512i s##r##0, s##r##1, s##r##2, s##r##3;                                \
  if constexpr (N > r) {                                                     \
    const __m512i correction = _mm512_set1_epi32(row_sums[r]);               \
    s##r##0 = _mm512_sub_epi32(load(panel.bias), correction);                \
    s##r##1 = _mm512_sub_epi32(load(panel.bias + kLanes), correction);       \
    if constexpr (C > 2) {                                                   \
      s##r##2 = _mm512_sub_epi32(load(panel.bias + 2 * kLanes), correction); \
      s##r##3 = _mm512_sub_epi32(load(panel.bias + 3 * kLanes), correction); \
    }                                                                        \
  }
  IVIT_FOR_ROWS(IVIT_START)
#undef IVIT_START
  const uint8_t* w = panel.weight;
  const int8_t* values = pass.x + row * x_stride;
  const int64_t groups = pass.groups;
  int64_t k = 0;
  for (int64_t piece = 0; piece < kRows; ++piece) {
    for (int step = 0; step < Store::kSteps; ++step) {
      const int64_t end = groups * (piece * Store::kSteps + step + 1) / (kRows * Store::kSteps);
      for (; k < end; ++k) {
        const __m512i w0 = load(w);
        const __m512i w1 = load(w + 64);
        [[maybe_unused]] const __m512i w2 = load(w + 128);
        [[maybe_unused]] const __m512i w3 = load(w + 192);
#define IVIT_MULTIPLY(r)                                    \
  if constexpr (N > r) {                                    \
    int32_t four;                                           \
    std::memcpy(&four, values + r * x_stride, sizeof four); \
    const __m512i broadcast = _mm512_set1_epi32(four);      \
    IVIT_DOT(s##r##0, w0, broadcast);                       \
    IVIT_DOT(s##r##1, w1, broadcast);                       \
    if constexpr (C > 2) {                                  \
      IVIT_DOT(s##r##2, w2, broadcast);                     \
      IVIT_DOT(s##r##3, w3, broadcast);                     \
    }                                                       \
  }
        IVIT_FOR_ROWS(IVIT_MULTIPLY)
#undef IVIT_MULTIPLY
        w += kGroup * kColumns;
        values += kGroup;
      }
      pending.finish(piece, step, store);
    }
    pass.next_panel.step();
    if (piece < N) store.fetch(row + piece, panel.column);
  }
#define IVIT_KEEP(r)                                                      \
  if constexpr (N > r) {                                                  \
    _mm512_store_si512(pass.sums + r * kColumns, s##r##0);                \
    _mm512_store_si512(pass.sums + r * kColumns + kLanes, s##r##1);       \
    if constexpr (C > 2) {                                                \
      _mm512_store_si512(pass.sums + r * kColumns + 2 * kLanes, s##r##2); \
      _mm512_store_si512(pass.sums + r * kColumns + 3 * kLanes, s##r##3); \
    }                                                                     \
  }
  IVIT_FOR_ROWS(IVIT_KEEP)
#undef IVIT_KEEP
  pending = {pass.sums, &panel, row, N};
}

// 128 times the sum of each row; `sums` has room for a multiple of four.
void sum_rows(const int8_t* x, int64_t x_stride, int64_t rows, int64_t inner, int32_t* sums) {
  const __m512i weights = _mm512_set1_epi8(static_cast<char>(128));
  const __mmask64 rest = inner % 64 == 0 ? 0 : _cvtu64_mask64(~uint64_t{0} >> (64 - inner % 64));
  for (int64_t row = 0; row < rows; row += 4) {
    __m512i sum[4];
    for (int64_t r = 0; r < 4; ++r) {
      const int8_t* values = x + std::min(row + r, rows - 1) * x_stride;
      sum[r] = _mm512_setzero_si512();
      int64_t k = 0;
      for (; k + 64 <= inner; k += 64) sum[r] = _mm512_dpbusd_epi32(sum[r], weights, _mm512_loadu_si512(values + k));
      if (rest != 0) sum[r] = _mm512_dpbusd_epi32(sum[r], weights, _mm512_maskz_loadu_epi8(rest, values + k));
    }
    // A transposition: every 128-bit lane gets a quarter of each row's sum.
    const __m512i two = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
    const __m512i others =
        _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
    const __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(two, others), _mm512_unpackhi_epi64(two, others));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
    const __m128i all = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm_store_si128(reinterpret_cast<__m128i*>(sums + row), all);
  }
}

// Rows [row, end) in tiles; `row_sums` begins at `row`.
template <int C, class Store>
void run_tiles(Pass& pass, int64_t row, int64_t end, const int32_t* row_sums, const Store& store, Pending& pending) {
  for (; row + kRows <= end; row += kRows, row_sums += kRows) tile<kRows, C>(pass, row, row_sums, store, pending);
  switch (end - row) {
    case 1:
      return tile<1, C>(pass, row, row_sums, store, pending);
    case 2:
      return tile<2, C>(pass, row, row_sums, store, pending);
    case 3:
      return tile<3, C>(pass, row, row_sums, store, pending);
    case 4:
      return tile<4, C>(pass, row, row_sums, store, pending);
    case 5:
      return tile<5, C>(pass, row, row_sums, store, pending);
    default:
      return;
  }
}

template <class Store>
void compute_with(const Store& store, const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear,
                  int64_t first_panel, int64_t last_panel) {
  const int64_t groups = linear.padded_inner / kGroup;
  alignas(16) int32_t sums[kBlockRows];
  // One panel is worked on while the epilogue of the one before may be pending.
  Panel panels[2];
  int turn = 0;
  PendingMemory memory;
  Pending pending;
  const int64_t most_rows = std::clamp(kBlockBytes / std::max<int64_t>(1, x_stride), kRows, kBlockRows) / kRows * kRows;
  const Split blocks(rows, divide_up(rows, most_rows), kRows);
  for (int64_t b = 0; b < blocks.count(); ++b) {
    const int64_t block = blocks.begin(b);
    const int64_t block_end = blocks.end(b);
    sum_rows(x + block * x_stride, x_stride, block_end - block, linear.inner, sums);
    for (int64_t p = first_panel; p < last_panel; ++p) {
      turn = 1 - turn;
      Panel& panel = panels[turn];
      panel.assign(linear, p);
      const bool last = p + 1 == last_panel;
      const int64_t tiles = divide_up(block_end - block, kRows);
      Pass pass{x,
                x_stride,
                groups,
                panel,
                memory.place_for(panel.weight),
                Prefetch(linear.panel(p + 1), last ? 0 : kColumns * linear.padded_inner, tiles * kRows)};
      if (linear.columns - panel.column > kColumns / 2) {
        run_tiles<4>(pass, block, block_end, sums, store, pending);
      } else {
        run_tiles<2>(pass, block, block_end, sums, store, pending);
      }
    }
  }
  for (int64_t index = 0; index < kRows; ++index) {
    for (int step = 0; step < Store::kSteps; ++step) pending.finish(index, step, store);
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
      if (linear.narrow && SumStore<false>::takes(epilogue)) return run(SumStore<false>(epilogue));
      break;
    case Epilogue::Kind::kPlace16:
      if (linear.narrow && SumStore<true>::takes(epilogue)) return run(SumStore<true>(epilogue));
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
  const AlignedArray<int8_t> padded(std::min(rows, kBlockRows) * linear.padded_inner);
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

const MatmulKernel kMatmul = {{kColumns, kGroup, 128, nullptr}, kRows, compute};

double peak(double seconds) {
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

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
