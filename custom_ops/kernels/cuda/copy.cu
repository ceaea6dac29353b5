#include "kernels/cuda/copy.h"
#include "kernels/cuda/elementwise.h"

namespace ivit::cuda {
namespace {

__global__ void copy_bytes_of_rows(const uint8_t* x, int64_t x_stride, int64_t count, int64_t bytes, uint8_t* y) {
  for (int64_t i = first_element(); i < count; i += element_stride()) y[i] = x[i / bytes * x_stride + i % bytes];
}

template <class T>
__global__ void widen_elements(const T* x, int64_t count, int32_t* y) {
  for (int64_t i = first_element(); i < count; i += element_stride()) y[i] = x[i];
}

}  // namespace

void copy_rows(const uint8_t* x, int64_t x_stride, int64_t rows, int64_t bytes, uint8_t* y, Stream stream) {
  const int64_t count = rows * bytes;
  launch(copy_bytes_of_rows, elementwise_launch(count, stream), x, x_stride, count, bytes, y);
}

template <class T>
void widen(const T* x, int64_t count, int32_t* y, Stream stream) {
  launch(widen_elements<T>, elementwise_launch(count, stream), x, count, y);
}

template void widen(const int8_t*, int64_t, int32_t*, Stream);
template void widen(const int16_t*, int64_t, int32_t*, Stream);
template void widen(const int32_t*, int64_t, int32_t*, Stream);

}  // namespace ivit::cuda
