// The CUDA language for kernel sources. nvcc has it built in; any other compiler gets the emulator, which runs the
// same sources on a CPU, one block at a time.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>

namespace ivit::cuda {

// The block's dynamic shared memory; its size is given at launch. Kernels declare no other shared memory.
template <class T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(1024) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
}

}  // namespace ivit::cuda
#else
#include "kernels/cuda/emulator/emulator.h"
#endif
