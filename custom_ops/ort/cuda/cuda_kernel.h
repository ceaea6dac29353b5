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

using CreateCudaKernel = std::unique_ptr<CudaKernel> (*)(const Call& constants);

struct CudaOperator {
  const char* name;
  CreateCudaKernel create;
};

template <class K>
std::unique_ptr<CudaKernel> create_cuda_kernel(const Call& constants) {
  return std::make_unique<K>(constants);
}

// The kernel of an operator. Throws InvalidArgument if a parameter is not constant.
std::unique_ptr<CudaKernel> create_cuda_kernel_for(const Call& constants);

}  // namespace ivit::ort
