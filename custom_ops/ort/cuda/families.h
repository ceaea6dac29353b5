// The families of operators on the GPU, one source file each, like ort/operators/families.h.
#pragma once

#include <vector>

#include "ort/cuda/cuda_kernel.h"

namespace ivit::ort {

std::vector<CudaOperator> add_requantize_cuda();
std::vector<CudaOperator> int_layer_norm_cuda();
std::vector<CudaOperator> int_linear_cuda();
std::vector<CudaOperator> int_mlp_cuda();
std::vector<CudaOperator> int_patch_embed_cuda();
std::vector<CudaOperator> int_patch_embed_norm_cuda();
std::vector<CudaOperator> int_patch_merge_cuda();
std::vector<CudaOperator> int_token_mean_cuda();
std::vector<CudaOperator> quantize_image_cuda();
std::vector<CudaOperator> int_attention_cuda();
std::vector<CudaOperator> int_window_attention_cuda();
std::vector<CudaOperator> requantize_cuda();
std::vector<CudaOperator> shift_gelu_cuda();
std::vector<CudaOperator> softmax_cuda();
std::vector<CudaOperator> table_gelu_cuda();

}  // namespace ivit::ort
