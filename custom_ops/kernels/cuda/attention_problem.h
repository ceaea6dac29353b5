// What every block of an attention kernel is told.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/attention_scale.h"

namespace ivit::cuda::attention {

struct Problem {
  const int8_t* qkv;            // [rows, 3, heads, head_dim]
  int8_t* y;                    // [rows, heads, head_dim]
  const int32_t* exponentials;  // [256], by the distance from the maximum
  Scale score;
  Dyadic context;
  bool upper_context;  // whether no shift of the context is below kUpperShift
  int heads;
  int head_dim;
  int alignment;  // of the first bytes of queries, keys and values: 16, 4 or 1
  int keys;
  int query_blocks;    // blocks of an item
  uint32_t numerator;  // of the factor of a row
  uint32_t rounding;   // added to a product, shifted like the factor
  int factor_shift;    // 1 for 8 fractional bits, else 0
  uint32_t masked_exponential;
  bool lone_key;     // whether the only exponential of a row needs lone_exponential()
  bool narrow_sums;  // whether the sum of a row's exponentials fits 32 bits
};

}  // namespace ivit::cuda::attention
