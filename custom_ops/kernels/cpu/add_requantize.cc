// AddRequantize: the residual connection.
#include "kernels/cpu/add_requantize.h"

namespace ivit::cpu {

void add_requantize(const Parallel& parallel, const int16_t* a, const Dyadic& a_scale, const int16_t* b,
                    const Dyadic& b_scale, int64_t rows, int64_t channels, int16_t* y) {
  for_row_ranges(parallel, rows, channels, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t i = row * channels + c;
        y[i] = add_requantize(a[i], a_scale, b[i], b_scale, c);
      }
    }
  });
}

}  // namespace ivit::cpu
