// IntLayerNorm, IntLayerNorm16: how it is split over threads.
#include "kernels/cpu/int_layer_norm.h"

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Rows that kernels may take together.
constexpr int64_t kRowTile = 8;

template <class Out, class Normalize>
void normalize(const Parallel& parallel, const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, Out* y,
               const Normalize& kernel) {
  const Split split(rows, wanted_tasks(), kRowTile);
  parallel.run(split.count(), [&](int64_t task) {
    const int64_t first = split.begin(task);
    kernel(x + first * channels, split.end(task) - first, channels, affine, y + first * channels);
  });
}

}  // namespace

void int_layer_norm(const Parallel& parallel, const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                    int8_t* y) {
  normalize(parallel, x, rows, channels, affine, y, active_variant().layer_norm);
}

void int_layer_norm16(const Parallel& parallel, const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                      int16_t* y) {
  normalize(parallel, x, rows, channels, affine, y, active_variant().layer_norm16);
}

}  // namespace ivit::cpu
