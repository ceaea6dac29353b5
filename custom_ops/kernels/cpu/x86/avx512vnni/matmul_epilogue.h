// What the matrix products with AVX-512 do with a finished row of accumulators: requantisation and the stages of
// epilogue.h. Everything here is compiled for AVX-512 and local to the file that includes it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// Of a panel.
constexpr int64_t kColumns = 64;

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

// What a stage adds to the scaled branch, 32 values at a time in the order of Pair: `takes` says whether vectors do for
// its scales. `fetch` asks for 64 values: rows are too far apart for the processor to foresee it.
template <class Stage>
class Addend;

template <>
class Addend<AddResidual> {
 public:
  explicit Addend(const AddResidual& stage) : residual_(stage.residual), scale_(stage.residual_scale) {}
  static bool takes(const AddResidual& stage) { return Scale16::takes(stage.residual_scale); }

  void fetch(int64_t at) const {
    __builtin_prefetch(residual_ + at);
    __builtin_prefetch(residual_ + at + 32);
  }
  Pair operator()(int64_t at, __mmask32 mask) const { return scale_(_mm512_maskz_loadu_epi16(mask, residual_ + at)); }

 private:
  const int16_t* residual_;
  Scale16 scale_;
};

template <>
class Addend<AddPosition> {
 public:
  explicit Addend(const AddPosition& stage) : position_(stage.position) {}
  static bool takes(const AddPosition&) { return true; }

  void fetch(int64_t) const {}
  Pair operator()(int64_t at, __mmask32 mask) const {
    const __m512i first = sixteen(at, static_cast<__mmask16>(mask));
    const __m512i second = sixteen(at + kLanes, static_cast<__mmask16>(mask >> 16));
    return {_mm512_permutex2var_epi64(first, _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0), second),
            _mm512_permutex2var_epi64(first, _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2), second)};
  }

 private:
  // A scaled branch is below 2^30 in absolute value: with positions bounded far beyond int16, sums do not wrap.
  __m512i sixteen(int64_t at, __mmask16 mask) const {
    const __m512i values = _mm512_maskz_loadu_epi32(mask, position_ + at);
    return _mm512_min_epi32(_mm512_max_epi32(values, _mm512_set1_epi32(-(1 << 30))), _mm512_set1_epi32(1 << 30));
  }

  const int32_t* position_;
};

template <>
class Addend<AddTokenResidual> : public Addend<AddResidual> {
 public:
  using Addend<AddResidual>::Addend;
};

// The scale of a stage's branch in a row.
template <class Stage>
class BranchScale {
 public:
  explicit BranchScale(const Stage& stage) : scale_(stage.branch) {}
  static bool takes(const Stage& stage) { return Scale16::takes(stage.branch); }

  const Scale16& of_row(int64_t) const { return scale_; }

 private:
  Scale16 scale_;
};

template <>
class BranchScale<AddTokenResidual> {
 public:
  explicit BranchScale(const AddTokenResidual& stage)
      : chosen_(stage.chosen), numbers_(stage.scales.branch, stage.scales.branch + stage.scales.count) {}
  static bool takes(const AddTokenResidual& stage) {
    return std::all_of(stage.scales.branch, stage.scales.branch + stage.scales.count,
                       [](const NarrowScale& branch) { return Scale16::takes(branch); });
  }

  Scale16 of_row(int64_t row) const { return Scale16(numbers_[chosen_[row]]); }

 private:
  const uint8_t* chosen_;
  std::vector<Scale16::Numbers> numbers_;
};

// What becomes of a row of accumulators, in `kSteps` steps: between the multiplications of the next tile there is room
// for short ones; `bias` is where those of a row start. This one: the branch scaled, plus an addend, clamped to int16.
template <class Stage>
class VectorStore {
 public:
  static constexpr int kSteps = 3;

  explicit VectorStore(const Stage& stage)
      : stage_(stage), y_(stage.y), stride_(stage.stride), branch_scale_(stage), addend_(stage) {}
  static bool takes(const Stage& stage) { return BranchScale<Stage>::takes(stage) && Addend<Stage>::takes(stage); }

  const int32_t* bias(const Panel& panel, int64_t row) const {
    return bias_of_row(stage_, row, panel.column, panel.bias);
  }
  void fetch(int64_t row, int64_t column) const { addend_.fetch(row * stride_ + column); }
  void operator()(int step, const Panel& panel, int64_t row, int32_t* sums) const {
    if (step == 0) return requantize_row16(panel, sums);
    const int half = step - 1;
    const int64_t at = row * stride_ + panel.column + 32 * half;
    const auto mask = static_cast<__mmask32>(panel.mask >> (32 * half));
    const Pair other = addend_(at, mask);
    const Pair branch = branch_scale_.of_row(row)(load(sums + kLanes * half));
    _mm512_mask_storeu_epi16(y_ + at, mask, pack(add(branch, other)));
  }

 private:
  const Stage& stage_;
  int16_t* y_;
  int64_t stride_;
  BranchScale<Stage> branch_scale_;
  Addend<Stage> addend_;
};

template <class Out>
class VectorStore<Saturate<Out>> {
 public:
  static constexpr int kSteps = 1;

  explicit VectorStore(const Saturate<Out>& stage) : y_(stage.y), stride_(stage.stride) {}
  static bool takes(const Saturate<Out>&) { return true; }

  const int32_t* bias(const Panel& panel, int64_t) const { return panel.bias; }
  void fetch(int64_t, int64_t) const {}
  void operator()(int, const Panel& panel, int64_t row, int32_t* sums) const {
    Out* y = y_ + row * stride_ + panel.column;
    if constexpr (sizeof(Out) == 1) {
      const __m512i bytes = _mm512_packs_epi16(panel.requantize16(sums, 0), panel.requantize16(sums, 2));
      _mm512_mask_storeu_epi8(y, panel.mask, natural_order(bytes));
    } else {
      requantize_row16(panel, sums);
      _mm512_mask_storeu_epi16(y, static_cast<__mmask32>(panel.mask), load(sums));
      _mm512_mask_storeu_epi16(y + 32, static_cast<__mmask32>(panel.mask >> 32), load(sums + kLanes));
    }
  }

 private:
  Out* y_;
  int64_t stride_;
};

// The stage in 64 bits. The scalar way adds the bias itself.
class ScalarStore {
 public:
  static constexpr int kSteps = 1;

  ScalarStore(const PackedLinear& linear, const Epilogue& epilogue) : linear_(linear), epilogue_(epilogue) {}

  const int32_t* bias(const Panel& panel, int64_t) const { return panel.bias; }
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

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
