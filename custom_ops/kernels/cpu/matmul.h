// The matrix product under every linear layer: int8 rows times an int8 weight, summed in int32.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

// A weight [inner, columns], transposed: the products of an output channel run over contiguous memory. Columns are
// padded with zeros to whole vectors and to an even number, so that the inner loops have no remainders.
class PackedWeight {
 public:
  PackedWeight() = default;
  PackedWeight(const int8_t* weight, int64_t inner, int64_t columns);

  int64_t inner() const { return inner_; }
  int64_t padded_inner() const { return padded_inner_; }
  int64_t columns() const { return columns_; }
  const int8_t* column(int64_t index) const { return data_.data() + index * padded_inner_; }

 private:
  int64_t inner_ = 0;
  int64_t padded_inner_ = 0;
  int64_t columns_ = 0;
  std::vector<int8_t> data_;
};

// Writes the `inner` elements of a row of the left operand.
using LoadRow = std::function<void(int64_t row, int16_t* values)>;

// Takes the finished int32 sums of columns [column, column + count) of a row.
using StoreRow = std::function<void(int64_t row, int64_t column, int64_t count, const int32_t* sums)>;

// rows x weight + bias, tile by tile; sums wrap around like int32 additions of the operator set's function bodies.
void matmul(const Parallel& parallel, int64_t rows, const PackedWeight& weight, const int32_t* bias,
            const LoadRow& load, const StoreRow& store);

}  // namespace ivit::cpu
