// Copies that change the place or the width of elements.
#pragma once

#include <cstdint>

#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// The first `bytes` of each of `rows` rows that are x_stride bytes apart, side by side.
void copy_rows(const uint8_t* x, int64_t x_stride, int64_t rows, int64_t bytes, uint8_t* y, Stream stream);

// Defined for int8_t, int16_t and int32_t.
template <class T>
void widen(const T* x, int64_t count, int32_t* y, Stream stream);

}  // namespace ivit::cuda
