// What the 256-bit matrix products do with a finished tile of accumulators: bias, requantisation, and the stages of
// epilogue.h. Everything here is compiled for AVX2 and local to the file that includes it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/x86/avx2/tile.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// Requantisation of the 16 columns of a panel; `bias` may be that of a row.
struct Panel {
  Panel(const PackedLinear& linear, int64_t panel)
      : bias(linear.bias.get() + panel * kTileColumns), scales(linear, panel * kTileColumns) {}

  Pair requantize(const int32_t* sums) const {
    return {scales.requantize(_mm256_add_epi32(load(sums), load(bias)), 0),
            scales.requantize(_mm256_add_epi32(load(sums + 8), load(bias + 8)), 8)};
  }

  const int32_t* bias;
  ChannelScales scales;
};

inline __m256i clamp(__m256i values, int32_t low, int32_t high) {
  return _mm256_min_epi32(_mm256_max_epi32(values, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
}

// A stage on rows of 16 values: `takes` says whether 32-bit lanes are enough for its scales. `addend` is what it adds,
// in natural order; a stage that adds nothing has a null pointer.
template <class Stage>
struct RowStage;

template <class Out>
struct RowStage<Saturate<Out>> {
  explicit RowStage(const Saturate<Out>&) {}
  static bool takes(const Saturate<Out>&) { return true; }
  static const Out* addend(const Saturate<Out>&) { return nullptr; }

  void operator()(const Panel& panel, const int32_t* sums, const Out*, Out* y) const {
    const __m256i values = pack(panel.requantize(sums));
    if constexpr (sizeof(Out) == 1) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y), pack_bytes(values));
    } else {
      store(y, values);
    }
  }
};

// The branch as int16, scaled: still in the order of the panel.
inline Pair scaled_branch(const Panel& panel, const int32_t* sums, const UniformScale& scale) {
  const Pair branch = panel.requantize(sums);
  return {scale.requantize(clamp(branch.low, INT16_MIN, INT16_MAX)),
          scale.requantize(clamp(branch.high, INT16_MIN, INT16_MAX))};
}

template <>
struct RowStage<AddResidual> {
  explicit RowStage(const AddResidual& stage) : branch_scale(stage.branch), residual_scale(stage.residual_scale) {}
  static bool takes(const AddResidual& stage) { return stage.branch.fits_int16() && stage.residual_scale.fits_int16(); }
  static const int16_t* addend(const AddResidual& stage) { return stage.residual; }

  void operator()(const Panel& panel, const int32_t* sums, const int16_t* residual, int16_t* y) const {
    const Pair branch = scaled_branch(panel, sums, branch_scale);
    const __m256i values = load(residual);
    // Unpacking inside 128-bit lanes gives the order of the panel.
    const __m256i low = _mm256_srai_epi32(_mm256_unpacklo_epi16(values, values), 16);
    const __m256i high = _mm256_srai_epi32(_mm256_unpackhi_epi16(values, values), 16);
    store(y, pack(add(branch, {residual_scale.requantize(low), residual_scale.requantize(high)})));
  }

  UniformScale branch_scale;
  UniformScale residual_scale;
};

// `branch_scale` is that of the row.
template <>
struct RowStage<AddTokenResidual> : RowStage<AddResidual> {
  using RowStage<AddResidual>::RowStage;
  static bool takes(const AddTokenResidual& stage) {
    return stage.residual_scale.fits_int16() &&
           std::all_of(stage.scales.branch, stage.scales.branch + stage.scales.count,
                       [](const NarrowScale& branch) { return branch.fits_int16(); });
  }
};

template <>
struct RowStage<AddPosition> {
  explicit RowStage(const AddPosition& stage) : branch_scale(stage.branch) {}
  static bool takes(const AddPosition& stage) { return stage.branch.fits_int16(); }
  static const int32_t* addend(const AddPosition& stage) { return stage.position; }

  void operator()(const Panel& panel, const int32_t* sums, const int32_t* position, int16_t* y) const {
    const Pair branch = scaled_branch(panel, sums, branch_scale);
    // The branch is below 2^28: with the position bounded far beyond int16, the sum does not wrap.
    const __m256i first = clamp(load(position), -(1 << 30), 1 << 30);
    const __m256i second = clamp(load(position + 8), -(1 << 30), 1 << 30);
    store(y, pack(add(branch, {_mm256_permute2x128_si256(first, second, 0x20),
                               _mm256_permute2x128_si256(first, second, 0x31)})));
  }

  UniformScale branch_scale;
};

// Stores rows [row, row + rows) of a panel; `sums` has 16 accumulators per row, the bias not yet added.
template <class Stage>
class VectorStore {
 public:
  VectorStore(const PackedLinear& linear, const Stage& stage) : linear_(linear), stage_(stage), row_stage_(stage) {}

  static bool takes(const PackedLinear& linear, const Stage& stage) {
    return linear.narrow && RowStage<Stage>::takes(stage);
  }

  void operator()(const int32_t* sums, int64_t row, int64_t rows, int64_t panel_index) const {
    Panel panel(linear_, panel_index);
    const int32_t* const layer_bias = panel.bias;
    RowStage<Stage> row_stage = row_stage_;
    const auto* addend = RowStage<Stage>::addend(stage_);
    const int64_t column = panel_index * kTileColumns;
    const int64_t count = std::min(kTileColumns, linear_.columns - column);
    for (int64_t r = 0; r < rows; ++r, sums += kTileColumns) {
      panel.bias = bias_of_row(stage_, row + r, column, layer_bias);
      if constexpr (std::is_same_v<Stage, AddTokenResidual>) {
        row_stage.branch_scale = UniformScale(stage_.branch_of_row(row + r));
      }
      const int64_t at = (row + r) * stage_.stride + column;
      if (count == kTileColumns) {
        row_stage(panel, sums, addend == nullptr ? nullptr : addend + at, stage_.y + at);
        continue;
      }
      // The last panel is not full: neither may its neighbours be read nor overwritten.
      std::decay_t<decltype(*addend)> some_addend[kTileColumns] = {};
      typename Stage::Output some_output[kTileColumns];
      const auto size = static_cast<size_t>(count);
      if (addend != nullptr) std::memcpy(some_addend, addend + at, size * sizeof *addend);
      row_stage(panel, sums, some_addend, some_output);
      std::memcpy(stage_.y + at, some_output, size * sizeof *some_output);
    }
  }

 private:
  const PackedLinear& linear_;
  const Stage& stage_;
  RowStage<Stage> row_stage_;
};

// The same in 64 bits.
class ScalarStore {
 public:
  ScalarStore(const PackedLinear& linear, const Epilogue& epilogue) : linear_(linear), epilogue_(epilogue) {}

  void operator()(const int32_t* sums, int64_t row, int64_t rows, int64_t panel) const {
    const int64_t column = panel * kTileColumns;
    const int64_t last = std::min(linear_.columns, column + kTileColumns);
    for (int64_t r = 0; r < rows; ++r) {
      store_scalar(sums + r * kTileColumns, row + r, column, last, linear_, epilogue_);
    }
  }

 private:
  const PackedLinear& linear_;
  const Epilogue& epilogue_;
};

}  // namespace
}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
