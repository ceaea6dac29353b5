#include "kernels/cuda/normalize.h"

namespace ivit::cuda {
namespace {

// Rows that share a warp, and so the latency of the square root and the reads of the parameters, once every
// multiprocessor has some warps in any case.
constexpr int rows_together(int chunks) { return chunks <= 8 ? 4 : 2; }

template <int kChunks, class Out>
void normalize_chunks(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, Out* y, Stream stream) {
  const MatrixSource source(x, channels);
  constexpr int kRows = rows_together(kChunks);
  const int64_t enough = int64_t{8} * kRows * current_device().multiprocessors;
  if (rows >= enough) {
    launch_in_registers<kChunks, kRows>(source, rows, channels, affine, y, channels, stream);
  } else {
    launch_in_registers<kChunks, 1>(source, rows, channels, affine, y, channels, stream);
  }
}

template <class Out>
void normalize(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, Out* y, Stream stream) {
  const bool vectors = channels % 4 == 0 && is_aligned(x, 8) && fits_vectors(affine, y, channels);
  const int64_t chunks = vectors ? divide_up(channels, kChunk) : kMostChunks + 1;
  if (chunks <= 1) return normalize_chunks<1>(x, rows, channels, affine, y, stream);
  if (chunks <= 2) return normalize_chunks<2>(x, rows, channels, affine, y, stream);
  if (chunks <= 3) return normalize_chunks<3>(x, rows, channels, affine, y, stream);
  if (chunks <= 4) return normalize_chunks<4>(x, rows, channels, affine, y, stream);
  if (chunks <= 6) return normalize_chunks<6>(x, rows, channels, affine, y, stream);
  if (chunks <= 8) return normalize_chunks<8>(x, rows, channels, affine, y, stream);
  if (chunks <= 12) return normalize_chunks<12>(x, rows, channels, affine, y, stream);
  if (chunks <= 16) return normalize_chunks<16>(x, rows, channels, affine, y, stream);
  launch_by_blocks(MatrixSource(x, channels), rows, channels, affine, y, channels, stream);
}

}  // namespace

void int_layer_norm(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y, Stream stream) {
  normalize(x, rows, channels, affine, y, stream);
}

void int_layer_norm16(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y,
                      Stream stream) {
  normalize(x, rows, channels, affine, y, stream);
}

}  // namespace ivit::cuda
