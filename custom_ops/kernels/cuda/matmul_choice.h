// Which kernels compute matrix products on this machine.
#pragma once

namespace ivit::cuda {

// Whether products may run on Hopper's own kernels. They are used where they were built, on such a GPU, and if they
// give the results of the other kernels there: products of several kinds are computed both ways and compared, once for
// each GPU. That takes some milliseconds and memory, so ask first when a model is loaded. IVIT_CUDA_MATMUL=mma turns
// them off. Throws CudaError if the variable has another value.
bool hopper_in_use();

}  // namespace ivit::cuda
