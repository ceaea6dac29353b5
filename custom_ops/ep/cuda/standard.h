// The operators of ep/standard.h on the GPU.
#pragma once

#include <memory>

#include "ort/cuda/cuda_kernel.h"

namespace ivit::ep {

// Null if the call is of none of them.
std::unique_ptr<ort::CudaKernel> create_standard_cuda(const ort::Call& call);

}  // namespace ivit::ep
