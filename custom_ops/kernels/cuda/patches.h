// Rows of a matrix product from images and from grids of tokens. Rows of the result are `row_stride` bytes apart, at
// least their length; the bytes between them become zero.
#pragma once

#include <cstdint>

#include "kernels/cuda/int_layer_norm.h"
#include "kernels/cuda/quantize_image.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// The patches of quantised images, row by row, each in the order colour, line, column: colours * patch_size^2 bytes.
// `patch_size` divides height and width. Fastest where a large power of two divides patch_size, and with rows and
// row_stride aligned to 16.
void gather_patches(const int8_t* images, const ImageShape& shape, int64_t patch_size, int8_t* rows, int64_t row_stride,
                    Stream stream);

// The same for pixels, which are quantised on the way.
void gather_patches(const uint8_t* images, const ImageShape& shape, const PixelTables& tables, int64_t patch_size,
                    int8_t* rows, int64_t row_stride, Stream stream);

// Squares of 2 x 2 tokens of x [images, height * width, channels], normalised: the four tokens side by side, column by
// column, zeros where there is none; 4 * channels bytes for each of the ceil(height / 2) * ceil(width / 2) squares of
// an image. Fastest for channels that are a multiple of 4 and at most 512.
void merge_rows(const int16_t* x, int64_t images, int64_t height, int64_t width, int64_t channels, const Affine& affine,
                int8_t* rows, int64_t row_stride, Stream stream);

}  // namespace ivit::cuda
