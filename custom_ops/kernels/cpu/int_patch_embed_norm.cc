// IntPatchEmbedNorm16 and IntPixelEmbedNorm16: image to normalised tokens of the residual stream.
#include "kernels/cpu/int_patch_embed_norm.h"

#include "kernels/cpu/clamp_bits.h"
#include "kernels/cpu/requantize.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Whether requantisation changes nothing.
bool is_one(const Dyadic& scale) { return scale.shift[0] < 31 && scale.multiplier[0] == int32_t{1} << scale.shift[0]; }

template <class Patches>
void embed_patches(const Parallel& parallel, const Patches& patches, const PatchEmbedNorm& embed, int16_t* y) {
  const Variant& variant = active_variant();
  const PackedLinear& projection = embed.projection;
  const int64_t channels = projection.columns;
  for_patch_blocks(parallel, patches, [&](int64_t n, int64_t first, int64_t count, const int8_t* rows) {
    int16_t* const tokens = y + (n * patches.grid().count() + first) * channels;
    variant.matmul.compute(rows, projection.inner, count, projection, 0, projection.panels(),
                           requantize_to(tokens, projection));
    clamp_bits(tokens, count * channels, embed.bits);
    variant.layer_norm16(tokens, count, channels, embed.norm, tokens);
    if (!is_one(embed.token_scale)) requantize_row(tokens, count * channels, embed.token_scale, tokens);
  });
}

}  // namespace

void int_patch_embed_norm(const Parallel& parallel, const QuantizedPatches& patches, const PatchEmbedNorm& embed,
                          int16_t* y) {
  embed_patches(parallel, patches, embed, y);
}

void int_patch_embed_norm(const Parallel& parallel, const PixelPatches& patches, const PatchEmbedNorm& embed,
                          int16_t* y) {
  embed_patches(parallel, patches, embed, y);
}

}  // namespace ivit::cpu
