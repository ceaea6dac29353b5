// The matrix product under every linear layer, with requantisation (and residual, and position table) fused behind it.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// A linear layer as kernels see it: all pointers are of the device.
//
// `weight` is [padded columns][padded_inner], the transposed weight with zeros behind its columns and its inner
// elements; padded_inner is never 0. The other arrays have a value for each padded column. `narrow` says that every
// shift is at least 32: then the result is the upper word of the sum x * m + 2^(e-1), shifted right by e - 32.
struct Linear {
  const int8_t* weight;
  const int32_t* bias;
  const int32_t* multiplier;
  const int8_t* shift;
  int64_t columns;
  int64_t inner;
  int64_t padded_inner;
  bool narrow;
};

// A linear layer on the device.
class PackedLinear {
 public:
  static constexpr int64_t kColumnPadding = 128;
  static constexpr int64_t kInnerPadding = 64;

  // From memory of the host: weight is [inner, columns], bias has a value per column.
  PackedLinear(const int8_t* weight, int64_t inner, int64_t columns, const int32_t* bias, const Dyadic& scale);

  int64_t columns() const { return linear_.columns; }
  int64_t inner() const { return linear_.inner; }
  const Linear& get() const { return linear_; }

 private:
  DeviceArray<int8_t> weight_;
  DeviceArray<int32_t> bias_;
  DeviceArray<int32_t> multiplier_;
  DeviceArray<int8_t> shift_;
  Linear linear_;
};

// A dyadic number for int16 values. With `narrow` the result is the upper word of
// (x << pre_shift) * multiplier + rounding, shifted right by post_shift; it is below 2^30 in absolute value.
struct ScalarScale {
  int32_t multiplier = 0;
  int32_t shift = 1;
  bool narrow = false;
  int32_t pre_shift = 0;
  int32_t post_shift = 0;
  int64_t rounding = 0;
};

// `scale` is in memory of the host.
ScalarScale scalar_scale(const Dyadic& scale);

// Biases and scales of a branch, `count` of them, of which each row takes one; all pointers are of the device.
struct RowScales {
  // A dyadic number.
  struct Branch {
    int32_t multiplier;
    int32_t shift;
  };

  const int32_t* chosen;  // [rows]: the one that a row takes
  const int32_t* bias;    // [count][padded_columns]
  const int32_t* column;  // [padded_columns]: 0, 1, and so on, for kernels that see values without their places
  const Branch* branch;   // [count]
  int32_t count;
  int64_t padded_columns;
  bool narrow;  // whether all results of int16 values are below 2^30 in absolute value
};

// Row scales on the device.
class PackedRowScales {
 public:
  // From memory of the host: bias is [count, columns], and branch has `count` numbers.
  PackedRowScales(const int32_t* bias, int64_t columns, const Dyadic& branch, int64_t count);

  // `chosen` is on the device, and may be written until a product with it starts.
  RowScales with(const int32_t* chosen) const;

 private:
  DeviceArray<int32_t> bias_;
  DeviceArray<int32_t> column_;
  DeviceArray<RowScales::Branch> branch_;
  bool narrow_;
};

// What happens to the accumulators of row i and column j; all results saturate.
struct Epilogue {
  enum class Kind {
    kInt8,       // y[i, j] as int8
    kInt16,      // y[i, j] as int16
    kInt32,      // y[i, j] as int32
    kClamped8,   // y[i, j] as int16 in the range of int8
    kAdd16,      // int16, then branch * that + residual_scale * residual[i, j] as int16
    kRowAdd16,   // kAdd16 with the bias and the branch that row i takes; the bias of the layer has no meaning
    kPosition16  // int16, then branch * that + position[i % patches, j] as int16, behind the image's prefix tokens
  };

  Kind kind;
  void* y;
  ScalarScale branch = {};
  ScalarScale residual_scale = {};
  const int16_t* residual = nullptr;
  RowScales rows = {};
  const int32_t* position = nullptr;
  int64_t patches = 1;
  int64_t prefix = 0;
};

Epilogue requantize_to(int8_t* y);
Epilogue requantize_to(int16_t* y);
Epilogue requantize_to(int32_t* y);
// Requantised to int16, then clamped to `bits`, 8 or 16.
Epilogue requantize_to_bits(int16_t* y, int64_t bits);

struct Residual {
  const int16_t* values;  // [rows, columns]
  ScalarScale branch_scale;
  ScalarScale residual_scale;
};

Epilogue add_residual_to(int16_t* y, const Residual& residual);

struct RowResidual {
  const int16_t* values;  // [rows, columns]
  RowScales rows;
  ScalarScale residual_scale;
};

Epilogue add_residual_to(int16_t* y, const RowResidual& residual);

// y is [images, prefix + patches, columns], of which only the patches are written; position is [patches, columns].
Epilogue place_to(int16_t* y, const ScalarScale& scale, const int32_t* position, int64_t patches, int64_t prefix);

// x is [rows, linear.inner()], its rows x_stride bytes apart. Strides that are multiples of 16 are faster; what stands
// between the rows may have any value, but must be there: x has rows * x_stride bytes.
void matmul(const int8_t* x, int64_t x_stride, int64_t rows, const PackedLinear& linear, const Epilogue& epilogue,
            Stream stream);

}  // namespace ivit::cuda
