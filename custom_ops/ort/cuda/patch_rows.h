// The patches of images as rows of a matrix product, for every operator that embeds patches.
#pragma once

#include "kernels/cuda/patches.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/pixels.h"
#include "ort/operators/patches.h"

namespace ivit::ort {

template <class Op>
class DeviceQuantizedImages {
 public:
  explicit DeviceQuantizedImages(const Call&) {}
  void gather(const Call& call, const cuda::ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t stride,
              cuda::Stream stream) const {
    cuda::gather_patches(call.data<int8_t>(Op::kImage), shape, patch_size, rows, stride, stream);
  }
};

// Of pixels, which are quantised.
template <class Op>
class DevicePixelImages {
 public:
  explicit DevicePixelImages(const Call& constants) : tables_(pixel_tables(constants, Op::kPixelAffine)) {}
  void gather(const Call& call, const cuda::ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t stride,
              cuda::Stream stream) const {
    cuda::gather_patches(call.data<uint8_t>(Op::kImage), shape, tables_, patch_size, rows, stride, stream);
  }

 private:
  cuda::PixelTables tables_;
};

template <class Op>
using DeviceImages = std::conditional_t<kTakesPixels<Op>, DevicePixelImages<Op>, DeviceQuantizedImages<Op>>;

// The rows of one call: where they stand, and how many there are.
struct PatchRows {
  const int8_t* data;
  int64_t stride;
  int64_t count;
  int64_t per_image;
};

template <class Op>
size_t patch_row_bytes(const Call& call) {
  const cpu::PatchGrid grid = patch_grid<Op>(call);
  return static_cast<size_t>(grid.image.images * grid.count() * gathered_stride(grid.pixels()));
}

// Gathers the patches of a call into `memory`, of patch_row_bytes(call).
template <class Op>
PatchRows gather_rows(const DeviceImages<Op>& images, const Call& call, void* memory, cuda::Stream stream) {
  const cpu::PatchGrid grid = patch_grid<Op>(call);
  const cuda::ImageShape shape{grid.image.images, grid.image.colours, grid.image.height, grid.image.width};
  int8_t* const rows = static_cast<int8_t*>(memory);
  const int64_t stride = gathered_stride(grid.pixels());
  images.gather(call, shape, grid.patch_size, rows, stride, stream);
  return {rows, stride, shape.images * grid.count(), grid.count()};
}

}  // namespace ivit::ort
