// Which of an attention's kernels runs.
#pragma once

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_shape.h"

namespace ivit::cuda::attention {

// Kernel<padded head dimension, whether probabilities have two bytes>::run is a kernel. Calls use(the one that fits).
template <template <int, bool> class Kernel, bool kSplit, class Use>
void with_kernel_for(int dim, const Use& use) {
  switch (dim) {
    case 32:
      return use(Kernel<32, kSplit>::run);
    case 64:
      return use(Kernel<64, kSplit>::run);
    case 96:
      return use(Kernel<96, kSplit>::run);
    case 128:
      return use(Kernel<128, kSplit>::run);
    case 192:
      return use(Kernel<192, kSplit>::run);
    default:
      return use(Kernel<kMaxHeadDim, kSplit>::run);
  }
}

template <template <int, bool> class Kernel, class Use>
void with_kernel(const AttentionParameters& parameters, const Use& use) {
  const int dim = padded_head_dim(parameters.head_dim);
  if (parameters.softmax.frac_bits > 8) {
    with_kernel_for<Kernel, true>(dim, use);
  } else {
    with_kernel_for<Kernel, false>(dim, use);
  }
}

}  // namespace ivit::cuda::attention
