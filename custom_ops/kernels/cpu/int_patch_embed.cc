// IntPatchEmbed and IntPixelEmbed: image to tokens of the residual stream.
#include "kernels/cpu/int_patch_embed.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Patches that a thread gathers at a time.
constexpr int64_t kBlockPatches = 96;

// One patch, in the order colour, line, column.
template <class Pixel>
void gather(const Pixel* image, const ImageShape& shape, int64_t top, int64_t left, int64_t size, Pixel* pixels) {
  for (int64_t colour = 0; colour < shape.colours; ++colour) {
    for (int64_t line = 0; line < size; ++line) {
      const Pixel* source = image + (colour * shape.height + top + line) * shape.width + left;
      pixels = std::copy(source, source + size, pixels);
    }
  }
}

// `load(image, top, left, row)` writes one patch of an image as a row of the product.
template <class Pixel, class Load>
void embed_patches(const Parallel& parallel, const Pixel* image, const PatchEmbed& embed, int16_t* y,
                   const Load& load) {
  const ImageShape& shape = embed.image;
  const PackedLinear& projection = embed.projection;
  const MatmulKernel& kernel = active_variant().matmul;
  const int64_t size = embed.patch_size;
  const int64_t patch_columns = shape.width / size;
  const int64_t patches = shape.height / size * patch_columns;
  const int64_t channels = projection.columns;
  const int64_t tokens = embed.prefix_count + patches;
  const int64_t wanted = divide_up(wanted_tasks(), std::max<int64_t>(1, shape.images));
  const Split split(patches, std::max(wanted, divide_up(patches, kBlockPatches)), kernel.row_tile);

  for (int64_t n = 0; n < shape.images; ++n) {
    std::copy(embed.prefix_tokens, embed.prefix_tokens + embed.prefix_count * channels, y + n * tokens * channels);
  }
  parallel.run(shape.images * split.count(), [&](int64_t task) {
    const int64_t n = task / split.count();
    const int64_t first = split.begin(task % split.count());
    const int64_t count = split.end(task % split.count()) - first;
    thread_local Scratch<int8_t> scratch;
    int8_t* const rows = scratch.get(count * projection.inner);
    for (int64_t row = 0; row < count; ++row) {
      const int64_t patch = first + row;
      load(image + n * shape.colours * shape.height * shape.width, patch / patch_columns * size,
           patch % patch_columns * size, rows + row * projection.inner);
    }
    Epilogue place{Epilogue::Kind::kPlace16, y + (n * tokens + embed.prefix_count + first) * channels, channels};
    place.branch = NarrowScale(embed.token_scale);
    place.position = embed.position + first * channels;
    kernel.compute(rows, projection.inner, count, projection, 0, projection.panels(), place);
  });
}

}  // namespace

void int_patch_embed(const Parallel& parallel, const int8_t* image, const PatchEmbed& embed, int16_t* y) {
  embed_patches(parallel, image, embed, y, [&](const int8_t* source, int64_t top, int64_t left, int8_t* row) {
    gather(source, embed.image, top, left, embed.patch_size, row);
  });
}

void int_pixel_embed(const Parallel& parallel, const uint8_t* image, const PixelTables& tables, const PatchEmbed& embed,
                     int16_t* y) {
  const Variant& variant = active_variant();
  const int64_t area = embed.patch_size * embed.patch_size;
  embed_patches(parallel, image, embed, y, [&](const uint8_t* source, int64_t top, int64_t left, int8_t* row) {
    uint8_t* const pixels = reinterpret_cast<uint8_t*>(row);
    gather(source, embed.image, top, left, embed.patch_size, pixels);
    for (int64_t colour = 0; colour < embed.image.colours; ++colour) {
      variant.look_up(pixels + colour * area, area, tables.colour(colour), row + colour * area);
    }
  });
}

}  // namespace ivit::cpu
