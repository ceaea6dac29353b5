// IntPatchEmbed and IntPixelEmbed: image to tokens of the residual stream.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/patches.h"

namespace ivit::cpu {

struct PatchEmbed {
  const PackedLinear& projection;
  Dyadic token_scale;
  const int32_t* position;       // [patches, channels]
  const int16_t* prefix_tokens;  // [prefix_count, channels]
  int64_t prefix_count;
};

// y is [images, prefix_count + patches, channels].
void int_patch_embed(const Parallel& parallel, const QuantizedPatches& patches, const PatchEmbed& embed, int16_t* y);
void int_patch_embed(const Parallel& parallel, const PixelPatches& patches, const PatchEmbed& embed, int16_t* y);

}  // namespace ivit::cpu
