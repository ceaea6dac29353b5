// How the items of an attention are spread over blocks: the host's side of the attention kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_parameters.h"
#include "kernels/cuda/attention_problem.h"
#include "kernels/cuda/attention_softmax.h"

namespace ivit::cuda::attention {

// The block of a launch.
struct Plan {
  int warps;
  int query_blocks;  // of an item
  size_t shared_bytes;
};

// Head dimensions are padded to one of these.
int padded_head_dim(int64_t head_dim);

// Shared memory that grows with the number of places.
struct Memory {
  int64_t score_bytes;  // for each query and key
  int64_t place_bytes;  // for each place, whatever the number of warps
};

// `name` is that of the operator, for errors: what does not fit a block's shared memory is one.
Plan make_plan(const char* name, int64_t items, int64_t keys, int64_t head_dim, const Memory& memory);

// A problem with what follows from the parameters.
Problem make_problem(const AttentionParameters& parameters, const int8_t* qkv, int64_t keys, const Plan& plan,
                     int8_t* y);

// The softmax of rows of so many keys. Scores without a bias have no second scale.
Normalized make_normalized(const SoftmaxParameters& parameters, const Scale& biased, int64_t head_dim, int64_t keys);

// `items` times the plan's blocks, checked to be a grid.
unsigned grid_blocks(const char* name, int64_t items, const Plan& plan);

}  // namespace ivit::cuda::attention
