// The matrix product with AVX-512 VNNI: 6 rows x 64 columns in 24 registers, the whole inner dimension in one go. A
// last panel of 32 columns or fewer takes half of them.
//
// vpdpbusd multiplies unsigned by signed bytes. Weights are packed as w + 128, the activations stay signed, and
// 128 * (sum of the row) is taken off the accumulators in the epilogue.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <variant>

#include "kernels/cpu/prefetch.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/matmul_epilogue.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kRows = 6;
// Rows are taken in blocks that a second-level cache holds beside the weights, and whose sums are kept at hand.
constexpr int64_t kBlockBytes = 384 * 1024;
constexpr int64_t kBlockRows = 512;

#define IVIT_FOR_ROWS(macro) macro(0) macro(1) macro(2) macro(3) macro(4) macro(5)

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
#define IVIT_START(r)                                                  \
  __m512i s##r##0, s##r##1, s##r##2, s##r##3;                          \
  if constexpr (N > r) {                                               \
    const int32_t* bias = store.bias(panel, row + r);                  \
    const __m512i correction = _mm512_set1_epi32(row_sums[r]);         \
    s##r##0 = _mm512_sub_epi32(load(bias), correction);                \
    s##r##1 = _mm512_sub_epi32(load(bias + kLanes), correction);       \
    if constexpr (C > 2) {                                             \
      s##r##2 = _mm512_sub_epi32(load(bias + 2 * kLanes), correction); \
      s##r##3 = _mm512_sub_epi32(load(bias + 3 * kLanes), correction); \
    }                                                                  \
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
  std::visit(
      [&](const auto& stage) {
        using Stage = std::decay_t<decltype(stage)>;
        const auto run = [&](const auto& store) {
          compute_with(store, x, x_stride, rows, linear, first_panel, last_panel);
        };
        // int32 results are few: they have no vectors.
        if constexpr (!std::is_same_v<Stage, Saturate<int32_t>>) {
          if (linear.narrow && VectorStore<Stage>::takes(stage)) return run(VectorStore<Stage>(stage));
        }
        run(ScalarStore(linear, epilogue));
      },
      epilogue);
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
    compute_rows(padded.get(), linear.padded_inner, count, linear, first_panel, last_panel, from_row(epilogue, first));
  }
}

}  // namespace

const MatmulKernel kMatmul = {{kColumns, kGroup, 128, nullptr}, kRows, compute};

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
