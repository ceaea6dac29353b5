// The families of operators, one source file each, from which the table of all operators is put together.
#pragma once

#include <vector>

#include "ort/operator.h"

namespace ivit::ort {

std::vector<OperatorSpec> requantize_operators();
std::vector<OperatorSpec> add_requantize_operators();
std::vector<OperatorSpec> quantize_image_operators();
std::vector<OperatorSpec> softmax_operators();
std::vector<OperatorSpec> shift_gelu_operators();
std::vector<OperatorSpec> table_gelu_operators();
std::vector<OperatorSpec> int_layer_norm_operators();
std::vector<OperatorSpec> int_linear_operators();
std::vector<OperatorSpec> int_attention_operators();
std::vector<OperatorSpec> int_mlp_operators();
std::vector<OperatorSpec> int_patch_embed_operators();
std::vector<OperatorSpec> int_token_mean_operators();
std::vector<OperatorSpec> int_patch_embed_norm_operators();
std::vector<OperatorSpec> int_patch_merge_operators();
std::vector<OperatorSpec> int_window_attention_operators();

}  // namespace ivit::ort
