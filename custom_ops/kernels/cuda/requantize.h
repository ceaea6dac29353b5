// Requantize, Requantize16, Requantize32: an int32 tensor to another scale and width.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// x and y are [rows, channels]. Defined for int8_t, int16_t and int32_t.
template <class Out>
void requantize(const int32_t* x, int64_t rows, int64_t channels, const Dyadic& scale, Out* y, Stream stream);

}  // namespace ivit::cuda
