// The table of all operators on the GPU.
#include <cstring>
#include <string>

#include "ort/binding.h"
#include "ort/cuda/families.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

const std::vector<CudaOperator>& cuda_operators() {
  static const std::vector<CudaOperator> table = [] {
    std::vector<CudaOperator> all;
    for (const auto& family : {
             add_requantize_cuda(),
             int_layer_norm_cuda(),
             int_linear_cuda(),
             int_mlp_cuda(),
             int_patch_embed_cuda(),
             int_patch_embed_norm_cuda(),
             int_patch_merge_cuda(),
             int_token_mean_cuda(),
             quantize_image_cuda(),
             requantize_cuda(),
             shift_gelu_cuda(),
             softmax_cuda(),
             table_gelu_cuda(),
             int_attention_cuda(),
             int_window_attention_cuda(),
         }) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return table;
}

}  // namespace

std::unique_ptr<CudaKernel> create_cuda_kernel_for(const Call& constants) {
  require_constant_parameters(constants);
  for (const CudaOperator& entry : cuda_operators()) {
    if (std::strcmp(entry.name, constants.spec.name) == 0) return entry.create(constants);
  }
  throw InvalidArgument(std::string(constants.spec.name) + ": there is no kernel for GPUs");
}

}  // namespace ivit::ort
