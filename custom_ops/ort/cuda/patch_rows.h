// The patches of images as rows of a matrix product, for every operator that embeds patches.
#pragma once

#include "kernels/cuda/patches.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/pixels.h"
#include "ort/operators/patches.h"

namespace ivit::ort {

// Of quantised images: input 0.
class QuantizedImages {
 public:
  static constexpr size_t kParameters = 0;

  explicit QuantizedImages(const Call&) {}
  void gather(const Call& call, const cuda::ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t stride,
              cuda::Stream stream) const {
    cuda::gather_patches(call.data<int8_t>(0), shape, patch_size, rows, stride, stream);
  }
};

// Of pixels, input 0, which the three inputs after it quantise.
class PixelImages {
 public:
  static constexpr size_t kParameters = 3;

  explicit PixelImages(const Call& constants) : tables_(pixel_tables(constants, 1)) {}
  void gather(const Call& call, const cuda::ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t stride,
              cuda::Stream stream) const {
    cuda::gather_patches(call.data<uint8_t>(0), shape, tables_, patch_size, rows, stride, stream);
  }

 private:
  cuda::PixelTables tables_;
};

// The rows of one call: where they stand, and how many there are.
struct PatchRows {
  const int8_t* data;
  int64_t stride;
  int64_t count;
  int64_t per_image;
};

inline int64_t patch_row_stride(const Call& call) { return gathered_stride(call.dims['K']); }

inline size_t patch_row_bytes(const Call& call) {
  const cpu::PatchGrid grid = patch_grid(call);
  return static_cast<size_t>(grid.image.images * grid.count() * patch_row_stride(call));
}

// Gathers the patches of a call into `memory`, of patch_row_bytes(call).
template <class Images>
PatchRows gather_rows(const Images& images, const Call& call, void* memory, cuda::Stream stream) {
  const cpu::PatchGrid grid = patch_grid(call);
  const cuda::ImageShape shape{grid.image.images, grid.image.colours, grid.image.height, grid.image.width};
  int8_t* const rows = static_cast<int8_t*>(memory);
  const int64_t stride = patch_row_stride(call);
  images.gather(call, shape, grid.patch_size, rows, stride, stream);
  return {rows, stride, shape.images * grid.count(), grid.count()};
}

}  // namespace ivit::ort
