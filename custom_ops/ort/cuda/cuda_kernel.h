// How an operator runs on a GPU. The contract is that of the operator's record; only the computation differs.
#pragma once

#include <memory>

#include "kernels/cuda/runtime.h"
#include "ort/operator.h"

namespace ivit::ort {

// Where one call runs.
struct CudaRun {
  cuda::Stream stream;
  // As many bytes as scratch_bytes() wanted, aligned to 256, of the device.
  void* scratch;
};

// One node's computation on a GPU. When it is created, the call holds the parameters, all of them, in memory of the
// host; what kernels need of them is copied to the device then. In a run, the data of activations and the outputs are
// on the device, and the parameters are as before. Several threads may call compute at the same time.
class CudaKernel {
 public:
  virtual ~CudaKernel() = default;
  virtual size_t scratch_bytes(const Call&) const { return 0; }
  // Enqueues the work and does not wait for it. Neither allocates nor copies from or to the host.
  virtual void compute(const Call& call, const CudaRun& run) const = 0;
};

// The GPU kernel of an operator. Each operator has one in ort/cuda/: IVIT_CUDA_KERNEL says which.
template <class Op>
std::unique_ptr<CudaKernel> create_cuda_kernel(const Call& constants);

#define IVIT_DECLARE(Name) \
  template <>              \
  std::unique_ptr<CudaKernel> create_cuda_kernel<op::Name>(const Call& constants);
IVIT_OPERATORS(IVIT_DECLARE)
#undef IVIT_DECLARE

// The kernel of the operator `Name` is of the class template `Class`, whose parameter is the operator.
#define IVIT_CUDA_KERNEL(Name, Class)                                               \
  template <>                                                                       \
  std::unique_ptr<CudaKernel> create_cuda_kernel<op::Name>(const Call& constants) { \
    return std::make_unique<Class<op::Name>>(constants);                            \
  }

// The kernel of an operator. Throws InvalidArgument if a parameter is not constant.
std::unique_ptr<CudaKernel> create_cuda_kernel_for(const Call& constants);

}  // namespace ivit::ort
