// The custom ops of the library: every operator for the CPU provider and, where it is built for GPUs, for the CUDA
// provider.
#include "ort/custom_op.h"
#ifdef IVIT_CUDA
#include "ort/cuda/cuda_custom_op.h"
#endif

namespace ivit::ort {

std::vector<CustomOp> custom_ops() {
  std::vector<CustomOp> all;
  for (const OperatorSpec& spec : operators()) {
    all.emplace_back(spec);
#ifdef IVIT_CUDA
    all.push_back(cuda_custom_op(spec));
#endif
  }
  return all;
}

}  // namespace ivit::ort
