// Patches of images as the rows of a matrix product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/quantize_image.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {

// Patches that a thread gathers at a time.
constexpr int64_t kBlockPatches = 96;

struct PatchGrid {
  ImageShape image;
  int64_t patch_size;

  int64_t down() const { return image.height / patch_size; }
  int64_t across() const { return image.width / patch_size; }
  int64_t count() const { return down() * across(); }
  // Pixels of a patch, all colours.
  int64_t pixels() const { return image.colours * patch_size * patch_size; }
};

// One patch, in the order colour, line, column.
template <class Pixel>
void gather_patch(const Pixel* image, const PatchGrid& grid, int64_t patch, Pixel* pixels) {
  const int64_t top = patch / grid.across() * grid.patch_size;
  const int64_t left = patch % grid.across() * grid.patch_size;
  for (int64_t colour = 0; colour < grid.image.colours; ++colour) {
    for (int64_t line = 0; line < grid.patch_size; ++line) {
      const Pixel* source = image + (colour * grid.image.height + top + line) * grid.image.width + left;
      pixels = std::copy_n(source, grid.patch_size, pixels);
    }
  }
}

// Quantised images.
class QuantizedPatches {
 public:
  QuantizedPatches(const int8_t* images, const PatchGrid& grid) : images_(images), grid_(grid) {}

  const PatchGrid& grid() const { return grid_; }
  // Patch `patch` of image `n` as a row of the product.
  void load(int64_t n, int64_t patch, int8_t* row) const {
    const ImageShape& shape = grid_.image;
    gather_patch(images_ + n * shape.colours * shape.height * shape.width, grid_, patch, row);
  }

 private:
  const int8_t* images_;
  PatchGrid grid_;
};

// Images of pixels, which are quantised patch by patch.
class PixelPatches {
 public:
  PixelPatches(const uint8_t* images, const PatchGrid& grid, const PixelTables& tables)
      : images_(images), grid_(grid), tables_(tables) {}

  const PatchGrid& grid() const { return grid_; }
  void load(int64_t n, int64_t patch, int8_t* row) const {
    const ImageShape& shape = grid_.image;
    const int64_t area = grid_.patch_size * grid_.patch_size;
    uint8_t* const pixels = reinterpret_cast<uint8_t*>(row);
    gather_patch(images_ + n * shape.colours * shape.height * shape.width, grid_, patch, pixels);
    for (int64_t colour = 0; colour < shape.colours; ++colour) {
      active_variant().look_up(pixels + colour * area, area, tables_.colour(colour), row + colour * area);
    }
  }

 private:
  const uint8_t* images_;
  PatchGrid grid_;
  const PixelTables& tables_;
};

// Covers the patches of all images by blocks: body(n, first, count, rows) for patches [first, first + count) of image
// n.
template <class Patches, class Body>
void for_patch_blocks(const Parallel& parallel, const Patches& patches, const Body& body) {
  const PatchGrid& grid = patches.grid();
  const int64_t images = grid.image.images;
  const int64_t wanted = divide_up(wanted_tasks(), std::max<int64_t>(1, images));
  const Split split(grid.count(), std::max(wanted, divide_up(grid.count(), kBlockPatches)),
                    active_variant().matmul.row_tile);
  parallel.run(images * split.count(), [&](int64_t task) {
    const int64_t n = task / split.count();
    const int64_t first = split.begin(task % split.count());
    const int64_t count = split.end(task % split.count()) - first;
    thread_local Scratch<int8_t> scratch;
    int8_t* const rows = scratch.get(count * grid.pixels());
    for (int64_t row = 0; row < count; ++row) patches.load(n, first + row, rows + row * grid.pixels());
    body(n, first, count, rows);
  });
}

}  // namespace ivit::cpu
