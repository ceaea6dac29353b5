// The families of operators on the GPU, one source file each, like ort/operators/families.h.
#pragma once

#include <vector>

#include "ort/cuda/cuda_kernel.h"

namespace ivit::ort {

std::vector<CudaOperator> int_attention_cuda();
std::vector<CudaOperator> int_window_attention_cuda();
std::vector<CudaOperator> requantize_cuda();

}  // namespace ivit::ort
