// The scales that tokens choose from in IntTokenMlpAdd: tables of the activation, and what the second layer and the
// residual connection have of each.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/row_tables.h"

namespace ivit::cpu {

// As the operator has them.
struct TokenInputs {
  int64_t scales;             // S
  const int8_t* token_scale;  // [256]
  const int8_t* gelu_tables;  // [S, 256]
  const int8_t* weight;       // [inner, columns]
  int64_t inner;
  int64_t columns;
  const int32_t* bias;  // [S, columns]
  Dyadic scale;
  Dyadic branch;  // S numbers
};

// Packed for one variant.
class TokenScales {
 public:
  TokenScales() = default;
  TokenScales(const PanelLayout& layout, const TokenInputs& inputs);

  RowTables tables() const { return {numbers_.data(), values_.data()}; }
  // The second layer. It has the bias of each column that is furthest from zero, so that `narrow` holds for all.
  const PackedLinear& linear() const { return linear_; }
  RowScales scales() const;

 private:
  std::vector<uint8_t> numbers_;
  std::vector<int8_t> values_;
  PackedLinear linear_;
  AlignedArray<int32_t> bias_;
  std::vector<int32_t> multiplier_;
  std::vector<int8_t> shift_;
  // With pointers to multiplier_ and shift_.
  std::vector<NarrowScale> branch_;
};

}  // namespace ivit::cpu
