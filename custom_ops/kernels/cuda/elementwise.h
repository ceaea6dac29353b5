// Kernels that compute every element by itself.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

constexpr int kElementThreads = 256;

// This thread's first element and the distance to its next one, in a one-dimensional grid.
__device__ inline int64_t first_element() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t element_stride() { return int64_t{gridDim.x} * blockDim.x; }

// One thread for each element, up to some blocks for each multiprocessor; threads then go on with further elements.
inline Launch elementwise_launch(int64_t count, Stream stream) {
  const int64_t most = int64_t{16} * current_device().multiprocessors;
  const int64_t blocks = std::min(divide_up(count, kElementThreads), most);
  return {dim3(static_cast<unsigned>(blocks)), kElementThreads, 0, stream};
}

}  // namespace ivit::cuda
