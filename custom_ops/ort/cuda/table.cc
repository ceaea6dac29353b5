// The kernels of all operators on the GPU.
#include <cstring>
#include <string>

#include "ort/binding.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/status.h"

namespace ivit::ort {

std::unique_ptr<CudaKernel> create_cuda_kernel_for(const Call& constants) {
  require_constant_parameters(constants);
#define IVIT_CREATE(Name) \
  if (std::strcmp(constants.spec.name, #Name) == 0) return create_cuda_kernel<op::Name>(constants);
  IVIT_OPERATORS(IVIT_CREATE)
#undef IVIT_CREATE
  throw InvalidArgument(std::string(constants.spec.name) + ": there is no kernel for GPUs");
}

}  // namespace ivit::ort
