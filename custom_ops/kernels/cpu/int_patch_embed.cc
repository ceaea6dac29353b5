// IntPatchEmbed: image to tokens of the residual stream.
#include "kernels/cpu/int_patch_embed.h"

#include <algorithm>

namespace ivit::cpu {

void int_patch_embed(const Parallel& parallel, const int8_t* image, const PatchEmbed& embed, int16_t* y) {
  const ImageShape& shape = embed.image;
  const int64_t size = embed.patch_size;
  const int64_t patch_columns = shape.width / size;
  const int64_t patches = shape.height / size * patch_columns;
  const int64_t channels = embed.projection.weight.columns();
  const int64_t tokens = embed.prefix_count + patches;

  for (int64_t n = 0; n < shape.images; ++n) {
    std::copy(embed.prefix_tokens, embed.prefix_tokens + embed.prefix_count * channels, y + n * tokens * channels);
  }

  // A row of the product is a patch in the order colour, line, column.
  const auto load = [&](int64_t row, int16_t* values) {
    const int64_t n = row / patches;
    const int64_t patch = row % patches;
    const int64_t top = patch / patch_columns * size;
    const int64_t left = patch % patch_columns * size;
    for (int64_t colour = 0; colour < shape.colours; ++colour) {
      for (int64_t line = 0; line < size; ++line) {
        const int8_t* pixels = image + ((n * shape.colours + colour) * shape.height + top + line) * shape.width + left;
        values = std::copy(pixels, pixels + size, values);
      }
    }
  };
  const auto store = [&](int64_t row, int64_t column, int64_t count, const int32_t* sums) {
    const int64_t n = row / patches;
    const int64_t patch = row % patches;
    const int32_t* position = embed.position + patch * channels + column;
    int16_t* token = y + (n * tokens + embed.prefix_count + patch) * channels + column;
    for (int64_t i = 0; i < count; ++i) {
      const int16_t projected = saturate<int16_t>(embed.projection.scale.scale(sums[i], column + i));
      token[i] = saturate<int16_t>(embed.token_scale.scale(projected, column + i) + position[i]);
    }
  };
  matmul(parallel, shape.images * patches, embed.projection.weight, embed.projection.bias, load, store);
}

}  // namespace ivit::cpu
