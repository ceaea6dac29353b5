// Which of an attention's kernels runs.
#pragma once

#include <type_traits>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_shape.h"

namespace ivit::cuda::attention {

template <class Split, class Use>
void with_dim(int dim, const Split& split, const Use& use) {
  switch (dim) {
    case 32:
      return use(std::integral_constant<int, 32>{}, split);
    case 64:
      return use(std::integral_constant<int, 64>{}, split);
    case 96:
      return use(std::integral_constant<int, 96>{}, split);
    case 128:
      return use(std::integral_constant<int, 128>{}, split);
    default:
      return use(std::integral_constant<int, kMaxHeadDim>{}, split);
  }
}

// Calls use(padded head dimension, whether factors of values have two bytes), constants by their types.
template <class Use>
void with_kernel(int64_t head_dim, bool split, const Use& use) {
  const int dim = padded_head_dim(head_dim);
  if (split) {
    with_dim(dim, std::true_type{}, use);
  } else {
    with_dim(dim, std::false_type{}, use);
  }
}

}  // namespace ivit::cuda::attention
