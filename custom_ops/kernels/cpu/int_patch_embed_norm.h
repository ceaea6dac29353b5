// IntPatchEmbedNorm16 and IntPixelEmbedNorm16: image to normalised tokens of the residual stream.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/patches.h"

namespace ivit::cpu {

struct PatchEmbedNorm {
  const PackedLinear& projection;
  // Width to which the projection is clamped.
  int bits;
  Affine norm;
  Dyadic token_scale;
};

// y is [images, patches, channels].
void int_patch_embed_norm(const Parallel& parallel, const QuantizedPatches& patches, const PatchEmbedNorm& embed,
                          int16_t* y);
void int_patch_embed_norm(const Parallel& parallel, const PixelPatches& patches, const PatchEmbedNorm& embed,
                          int16_t* y);

}  // namespace ivit::cpu
