// Patches of images as the rows of a matrix product.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

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
  // Pixels of an image, all colours.
  int64_t image_size() const { return image.colours * image.height * image.width; }
};

// Copies `count` patches' parts of one line to their rows, `stride` bytes apart. A size known here is one instruction.
template <int64_t kSize>
void scatter(const void* line, int64_t count, void* rows, int64_t stride) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(static_cast<char*>(rows) + i * stride, static_cast<const char*>(line) + i * kSize, kSize);
  }
}

inline void scatter(const void* line, int64_t size, int64_t count, void* rows, int64_t stride) {
  if (size == 4) return scatter<4>(line, count, rows, stride);
  if (size == 8) return scatter<8>(line, count, rows, stride);
  if (size == 16) return scatter<16>(line, count, rows, stride);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(static_cast<char*>(rows) + i * stride, static_cast<const char*>(line) + i * size,
                static_cast<size_t>(size));
  }
}

// Patches [first, first + count) of an image as rows, each in the order colour, line, column. line(source, length,
// colour) gives `length` quantised pixels of a line.
template <class Pixel, class Line>
void gather_patches(const Pixel* image, const PatchGrid& grid, int64_t first, int64_t count, int8_t* rows,
                    const Line& line) {
  const int64_t size = grid.patch_size;
  for (int64_t done = 0; done < count;) {
    const int64_t patch = first + done;
    const int64_t left = patch % grid.across();
    const int64_t some = std::min(count - done, grid.across() - left);
    for (int64_t colour = 0; colour < grid.image.colours; ++colour) {
      for (int64_t i = 0; i < size; ++i) {
        const int64_t height = colour * grid.image.height + patch / grid.across() * size + i;
        const int8_t* pixels = line(image + height * grid.image.width + left * size, some * size, colour);
        scatter(pixels, size, some, rows + done * grid.pixels() + (colour * size + i) * size, grid.pixels());
      }
    }
    done += some;
  }
}

// Quantised images.
class QuantizedPatches {
 public:
  QuantizedPatches(const int8_t* images, const PatchGrid& grid) : images_(images), grid_(grid) {}

  const PatchGrid& grid() const { return grid_; }
  // Patches [first, first + count) of image `n` as rows of the product.
  void load(int64_t n, int64_t first, int64_t count, int8_t* rows) const {
    gather_patches(images_ + n * grid_.image_size(), grid_, first, count, rows,
                   [](const int8_t* source, int64_t, int64_t) { return source; });
  }

 private:
  const int8_t* images_;
  PatchGrid grid_;
};

// Images of pixels, which are quantised line by line.
class PixelPatches {
 public:
  PixelPatches(const uint8_t* images, const PatchGrid& grid, const PixelTables& tables)
      : images_(images), grid_(grid), tables_(tables) {}

  const PatchGrid& grid() const { return grid_; }
  void load(int64_t n, int64_t first, int64_t count, int8_t* rows) const {
    thread_local Scratch<int8_t> memory;
    int8_t* const quantized = memory.get(grid_.image.width);
    gather_patches(images_ + n * grid_.image_size(), grid_, first, count, rows,
                   [&](const uint8_t* source, int64_t length, int64_t colour) {
                     active_variant().look_up(source, length, tables_.colour(colour), quantized);
                     return quantized;
                   });
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
    patches.load(n, first, count, rows);
    body(n, first, count, rows);
  });
}

}  // namespace ivit::cpu
