// AddRequantize: the residual connection.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// a, b and y are [rows, channels]; the scales are on the device. Each side is rounded by itself, then both are added,
// then clamped. Fastest for channels that are a multiple of 8, with all pointers aligned to 16 bytes.
void add_requantize(const int16_t* a, const Dyadic& a_scale, const int16_t* b, const Dyadic& b_scale, int64_t rows,
                    int64_t channels, int16_t* y, Stream stream);

}  // namespace ivit::cuda
