#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/requantize.h"

namespace ivit::cuda {
namespace {

template <class Out>
__global__ void requantize_elements(const int32_t* x, int64_t count, int64_t channels, Dyadic scale, Out* y) {
  for (int64_t i = first_element(); i < count; i += element_stride()) {
    y[i] = saturate<Out>(scale.scale(x[i], i % channels));
  }
}

}  // namespace

template <class Out>
void requantize(const int32_t* x, int64_t rows, int64_t channels, const Dyadic& scale, Out* y, Stream stream) {
  const int64_t count = rows * channels;
  launch(requantize_elements<Out>, elementwise_launch(count, stream), x, count, channels, scale, y);
}

template void requantize(const int32_t*, int64_t, int64_t, const Dyadic&, int8_t*, Stream);
template void requantize(const int32_t*, int64_t, int64_t, const Dyadic&, int16_t*, Stream);
template void requantize(const int32_t*, int64_t, int64_t, const Dyadic&, int32_t*, Stream);

}  // namespace ivit::cuda
