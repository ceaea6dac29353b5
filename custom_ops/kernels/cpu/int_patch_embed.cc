// IntPatchEmbed and IntPixelEmbed: image to tokens of the residual stream.
#include "kernels/cpu/int_patch_embed.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

template <class Patches>
void embed_patches(const Parallel& parallel, const Patches& patches, const PatchEmbed& embed, int16_t* y) {
  const PackedLinear& projection = embed.projection;
  const int64_t channels = projection.columns;
  const int64_t tokens = embed.prefix_count + patches.grid().count();
  for (int64_t n = 0; n < patches.grid().image.images; ++n) {
    std::copy_n(embed.prefix_tokens, embed.prefix_count * channels, y + n * tokens * channels);
  }
  for_patch_blocks(parallel, patches, [&](int64_t n, int64_t first, int64_t count, const int8_t* rows) {
    const AddPosition place{y + (n * tokens + embed.prefix_count + first) * channels, channels,
                            NarrowScale(embed.token_scale), embed.position + first * channels};
    active_variant().matmul.compute(rows, projection.inner, count, projection, 0, projection.panels(), place);
  });
}

}  // namespace

void int_patch_embed(const Parallel& parallel, const QuantizedPatches& patches, const PatchEmbed& embed, int16_t* y) {
  embed_patches(parallel, patches, embed, y);
}

void int_patch_embed(const Parallel& parallel, const PixelPatches& patches, const PatchEmbed& embed, int16_t* y) {
  embed_patches(parallel, patches, embed, y);
}

}  // namespace ivit::cpu
