// IntLayerNorm with AVX2.
#pragma once

#include "kernels/cpu/int_layer_norm.h"

namespace ivit::cpu {

// See Variant::layer_norm.
void layer_norm_rows_avx2(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y);

}  // namespace ivit::cpu
