// The table of all operators.
#include "ort/operators/families.h"

namespace ivit::ort {

const std::vector<OperatorSpec>& operators() {
  // Never destroyed: sessions may run while the process ends.
  static const std::vector<OperatorSpec>& table = *[] {
    auto* all = new std::vector<OperatorSpec>;
    for (const auto& family :
         {requantize_operators(), add_requantize_operators(), quantize_image_operators(), softmax_operators(),
          shift_gelu_operators(), table_gelu_operators(), int_layer_norm_operators(), int_linear_operators(),
          int_attention_operators(), int_mlp_operators(), int_patch_embed_operators(), int_patch_embed_norm_operators(),
          int_patch_merge_operators(), int_token_mean_operators(), int_window_attention_operators()}) {
      all->insert(all->end(), family.begin(), family.end());
    }
    return all;
  }();
  return table;
}

}  // namespace ivit::ort
