// IntPatchEmbed and IntPixelEmbed: image to tokens of the residual stream.
#pragma once

#include <cstdint>

#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/quantize_image.h"

namespace ivit::cpu {

struct PatchEmbed {
  ImageShape image;
  int64_t patch_size;
  const PackedLinear& projection;
  Dyadic token_scale;
  const int32_t* position;       // [patches, channels]
  const int16_t* prefix_tokens;  // [prefix_count, channels]
  int64_t prefix_count;
};

// y is [images, prefix_count + patches, channels].
void int_patch_embed(const Parallel& parallel, const int8_t* image, const PatchEmbed& embed, int16_t* y);

// The same from pixels, which are quantised patch by patch.
void int_pixel_embed(const Parallel& parallel, const uint8_t* image, const PixelTables& tables, const PatchEmbed& embed,
                     int16_t* y);

}  // namespace ivit::cpu
