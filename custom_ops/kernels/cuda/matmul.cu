// Packing of linear layers, and the choice of a kernel.
#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/common/integer.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_choice.h"
#ifdef IVIT_HOPPER
#include "kernels/cuda/matmul_hopper.h"
#endif
#include "kernels/cuda/matmul_mma.h"
#include "kernels/cuda/matmul_tile.h"

namespace ivit::cuda {
namespace {

constexpr int kLeastNarrowShift = 32;
// From 17 on, results of int16 values stay below 2^30, so that two of them can be added in 32 bits.
constexpr int32_t kLeastScalarShift = 17;
// What padded columns have: their results are zeros, and never stored.
constexpr int8_t kPaddingShift = kLeastNarrowShift;

// [inner, columns] to [padded columns][padded inner], by blocks of columns that stay in a cache.
std::vector<int8_t> transpose(const int8_t* weight, int64_t inner, int64_t columns, int64_t padded_columns,
                              int64_t padded_inner) {
  constexpr int64_t kBlock = 64;
  std::vector<int8_t> packed(static_cast<size_t>(padded_columns * padded_inner));
  for (int64_t first = 0; first < columns; first += kBlock) {
    const int64_t last = std::min(columns, first + kBlock);
    for (int64_t k = 0; k < inner; ++k) {
      for (int64_t column = first; column < last; ++column) {
        packed[static_cast<size_t>(column * padded_inner + k)] = weight[k * columns + column];
      }
    }
  }
  return packed;
}

// `count` values, each `stride` behind the one before, and padding.
template <class T>
std::vector<T> expand(const T* values, int64_t stride, int64_t count, int64_t padded, T padding) {
  std::vector<T> all(static_cast<size_t>(padded), padding);
  for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = values[i * stride];
  return all;
}

}  // namespace

PackedLinear::PackedLinear(const int8_t* weight, int64_t inner, int64_t columns, const int32_t* bias,
                           const Dyadic& scale) {
  hopper_in_use();  // the model is being loaded: the time to find out
  const int64_t padded_columns = round_up(columns, kColumnPadding);
  // At least one step of zeros, so that there is a weight.
  const int64_t padded_inner = std::max(kInnerPadding, round_up(inner, kInnerPadding));
  const std::vector<int8_t> shift = expand(scale.shift, scale.shift_stride, columns, padded_columns, kPaddingShift);
  const bool narrow = std::all_of(shift.begin(), shift.end(), [](int8_t e) { return e >= kLeastNarrowShift; });
  weight_ = DeviceArray<int8_t>(transpose(weight, inner, columns, padded_columns, padded_inner));
  bias_ = DeviceArray<int32_t>(expand(bias, 1, columns, padded_columns, 0));
  multiplier_ = DeviceArray<int32_t>(expand(scale.multiplier, scale.multiplier_stride, columns, padded_columns, 0));
  shift_ = DeviceArray<int8_t>(shift);
  linear_ = {weight_.get(), bias_.get(), multiplier_.get(), shift_.get(), columns, inner, padded_inner, narrow};
}

ScalarScale scalar_scale(const Dyadic& scale) {
  constexpr int32_t kPreShift = 16;
  constexpr int32_t kMostShift = 62;
  ScalarScale scalar;
  scalar.multiplier = scale.multiplier[0];
  scalar.shift = scale.shift[0];
  scalar.narrow = scalar.shift >= kLeastScalarShift;
  if (scalar.narrow) {
    scalar.pre_shift = scalar.shift + kPreShift <= kMostShift ? kPreShift : 0;
    const int32_t shift = scalar.shift + scalar.pre_shift;
    scalar.post_shift = shift - 32;
    scalar.rounding = int64_t{1} << (shift - 1);
  }
  return scalar;
}

PackedRowScales::PackedRowScales(const int32_t* bias, int64_t columns, const Dyadic& branch, int64_t count) {
  const int64_t padded_columns = round_up(columns, PackedLinear::kColumnPadding);
  std::vector<int32_t> biases(static_cast<size_t>(count * padded_columns));
  std::vector<RowScales::Branch> branches;
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(bias + i * columns, columns, biases.data() + i * padded_columns);
    branches.push_back({branch.multiplier[i * branch.multiplier_stride], branch.shift[i * branch.shift_stride]});
  }
  std::vector<int32_t> column(static_cast<size_t>(padded_columns));
  std::iota(column.begin(), column.end(), 0);
  bias_ = DeviceArray<int32_t>(biases);
  column_ = DeviceArray<int32_t>(column);
  branch_ = DeviceArray<RowScales::Branch>(branches);
  narrow_ = std::all_of(branches.begin(), branches.end(),
                        [](const RowScales::Branch& scale) { return scale.shift >= kLeastScalarShift; });
}

RowScales PackedRowScales::with(const int32_t* chosen) const {
  return {chosen,
          bias_.get(),
          column_.get(),
          branch_.get(),
          static_cast<int32_t>(branch_.size()),
          static_cast<int64_t>(column_.size()),
          narrow_};
}

Epilogue requantize_to(int8_t* y) { return {Epilogue::Kind::kInt8, y}; }

Epilogue requantize_to(int16_t* y) { return {Epilogue::Kind::kInt16, y}; }

Epilogue requantize_to(int32_t* y) { return {Epilogue::Kind::kInt32, y}; }

Epilogue requantize_to_bits(int16_t* y, int64_t bits) {
  return {bits == 8 ? Epilogue::Kind::kClamped8 : Epilogue::Kind::kInt16, y};
}

Epilogue add_residual_to(int16_t* y, const Residual& residual) {
  Epilogue epilogue{Epilogue::Kind::kAdd16, y, residual.branch_scale, residual.residual_scale};
  epilogue.residual = residual.values;
  return epilogue;
}

Epilogue add_residual_to(int16_t* y, const RowResidual& residual) {
  Epilogue epilogue{Epilogue::Kind::kRowAdd16, y};
  epilogue.residual_scale = residual.residual_scale;
  epilogue.residual = residual.values;
  epilogue.rows = residual.rows;
  return epilogue;
}

Epilogue place_to(int16_t* y, const ScalarScale& scale, const int32_t* position, int64_t patches, int64_t prefix) {
  Epilogue epilogue{Epilogue::Kind::kPosition16, y, scale};
  epilogue.position = position;
  epilogue.patches = patches;
  epilogue.prefix = prefix;
  return epilogue;
}

void matmul(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, const Epilogue& epilogue,
            Stream stream) {
  if (rows == 0 || linear.columns() == 0) return;
#ifdef IVIT_HOPPER
  // Large tiles only: a few small ones leave most multiprocessors without work.
  if (choose_tile(rows, linear.columns(), current_device().multiprocessors) == 0 && hopper_in_use() &&
      matmul_hopper_takes(x, x_stride, rows, linear.get(), epilogue)) {
    return matmul_hopper(x, x_stride, rows, linear.get(), epilogue, stream);
  }
#endif
  const int tile = choose_tile(rows, linear.columns(), current_device().multiprocessors);
  matmul_mma(tile, x, x_stride, rows, linear.get(), epilogue, stream);
}

}  // namespace ivit::cuda
