// IntPatchMerge: squares of 2 x 2 tokens to one token.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct PatchMerge {
  int64_t images;
  int64_t height;
  int64_t width;
  int64_t channels;
  Affine norm;
  const PackedLinear& linear;
  // Width to which the linear layer's result is clamped.
  int bits;
};

// x is [images, height * width, channels], y [images, squares, linear.columns].
void int_patch_merge(const Parallel& parallel, const int16_t* x, const PatchMerge& merge, int16_t* y);

}  // namespace ivit::cpu
