// What every block of an attention kernel is told, whatever its softmax.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"

namespace ivit::cuda::attention {

struct Problem {
  const int8_t* qkv;  // [rows, 3, heads, head_dim]
  int8_t* y;          // [rows, heads, head_dim]
  Dyadic context;
  bool upper_context;  // whether no shift of the context is below kUpperShift
  int heads;
  int head_dim;
  int alignment;  // of the first bytes of queries, keys and values: 16, 4 or 1
  int keys;
  int query_blocks;  // blocks of an item
};

}  // namespace ivit::cuda::attention
