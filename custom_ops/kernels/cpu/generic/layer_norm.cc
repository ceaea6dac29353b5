// The portable layer normalisation.
#include "kernels/common/layer_norm.h"

#include "kernels/common/dyadic.h"
#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu::generic {
namespace {

template <class Out>
void normalize_row(const int16_t* x, int64_t channels, const Affine& affine, Out* y) {
  int64_t sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += x[c];
  const int32_t mean = static_cast<int32_t>(round_half_even_divide(sum, channels));
  int64_t squares = 0;
  for (int64_t c = 0; c < channels; ++c) {
    // |x - mean| <= 65535, whose square fits uint32.
    const uint32_t centered = static_cast<uint32_t>(x[c] - mean);
    squares += centered * centered;
  }
  const int64_t factor = (int64_t{1} << 31) / newton_sqrt(squares);
  for (int64_t c = 0; c < channels; ++c) {
    // Newton's root is at least floor(sqrt(squares)) and at least 64, so |normalized| is hardly above 2^30.
    const int64_t normalized = ((x[c] - mean) * factor) >> 1;
    y[c] = saturate<Out>((normalized * affine.multiplier[c] + affine.offset[c]) >> affine.shift[c]);
  }
}

}  // namespace

void layer_norm_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y) {
  for (int64_t row = 0; row < rows; ++row) normalize_row(x + row * channels, channels, affine, y + row * channels);
}

void layer_norm16_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y) {
  for (int64_t row = 0; row < rows; ++row) normalize_row(x + row * channels, channels, affine, y + row * channels);
}

}  // namespace ivit::cpu::generic
