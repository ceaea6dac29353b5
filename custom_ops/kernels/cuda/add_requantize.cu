#include "kernels/cuda/add_requantize.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

// Values that a thread takes at a time.
constexpr int kUnit = 8;

__global__ void __launch_bounds__(kElementThreads)
    add_elements(const int16_t* a, Dyadic a_scale, const int16_t* b, Dyadic b_scale, int64_t count, int64_t channels,
                 int16_t* y) {
  for (int64_t i = first_element(); i < count; i += element_stride()) {
    const int64_t channel = i % channels;
    y[i] = saturate<int16_t>(a_scale.scale(a[i], channel) + b_scale.scale(b[i], channel));
  }
}

// The dyadic numbers of kUnit channels.
struct UnitScale {
  int32_t multiplier[kUnit];
  int32_t shift[kUnit];

  __device__ UnitScale(const Dyadic& scale, int64_t channel) {
    if (scale.multiplier_stride == 0) {
      const int32_t only = *scale.multiplier;
#pragma unroll
      for (int i = 0; i < kUnit; ++i) multiplier[i] = only;
    } else {
      const int4* const words = reinterpret_cast<const int4*>(scale.multiplier + channel);
      const int4 first = words[0], second = words[1];
      const int32_t values[kUnit] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
      for (int i = 0; i < kUnit; ++i) multiplier[i] = values[i];
    }
    if (scale.shift_stride == 0) {
      const int32_t only = *scale.shift;
#pragma unroll
      for (int i = 0; i < kUnit; ++i) shift[i] = only;
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(scale.shift + channel);
#pragma unroll
      for (int i = 0; i < kUnit; ++i) shift[i] = static_cast<int32_t>(byte_of(i < 4 ? words.x : words.y, i % 4));
    }
  }
};

// Two values of each side, i and i + 1 of the unit.
__device__ inline uint32_t add2(uint32_t a, const UnitScale& a_scale, uint32_t b, const UnitScale& b_scale, int i) {
  const int64_t first = scale_round(low_half(a), a_scale.multiplier[i], a_scale.shift[i]) +
                        scale_round(low_half(b), b_scale.multiplier[i], b_scale.shift[i]);
  const int64_t second = scale_round(high_half(a), a_scale.multiplier[i + 1], a_scale.shift[i + 1]) +
                         scale_round(high_half(b), b_scale.multiplier[i + 1], b_scale.shift[i + 1]);
  return pack_int16(saturate<int32_t>(first), saturate<int32_t>(second));
}

// `count` values in units; kUnit divides `channels`.
__global__ void __launch_bounds__(kElementThreads)
    add_units(const uint4* a, Dyadic a_scale, const uint4* b, Dyadic b_scale, int64_t count, int64_t channels,
              uint4* y) {
  for (int64_t unit = first_element(); unit < count / kUnit; unit += element_stride()) {
    const uint64_t first = static_cast<uint64_t>(unit) * kUnit;
    const int64_t channel = static_cast<int64_t>(first % static_cast<uint64_t>(channels));
    const UnitScale a_unit(a_scale, channel), b_unit(b_scale, channel);
    const uint4 left = a[unit], right = b[unit];
    y[unit] = {add2(left.x, a_unit, right.x, b_unit, 0), add2(left.y, a_unit, right.y, b_unit, 2),
               add2(left.z, a_unit, right.z, b_unit, 4), add2(left.w, a_unit, right.w, b_unit, 6)};
  }
}

// Parameters of channels that are read in units.
bool fits_units(const Dyadic& scale) {
  return (scale.multiplier_stride == 0 || is_aligned(scale.multiplier, 16)) &&
         (scale.shift_stride == 0 || is_aligned(scale.shift, 8));
}

}  // namespace

void add_requantize(const int16_t* a, const Dyadic& a_scale, const int16_t* b, const Dyadic& b_scale, int64_t rows,
                    int64_t channels, int16_t* y, Stream stream) {
  const int64_t count = rows * channels;
  const bool units = channels % kUnit == 0 && is_aligned(a, 16) && is_aligned(b, 16) && is_aligned(y, 16) &&
                     fits_units(a_scale) && fits_units(b_scale);
  if (units) {
    launch(add_units, elementwise_launch(count / kUnit, stream), reinterpret_cast<const uint4*>(a), a_scale,
           reinterpret_cast<const uint4*>(b), b_scale, count, channels, reinterpret_cast<uint4*>(y));
  } else {
    launch(add_elements, elementwise_launch(count, stream), a, a_scale, b, b_scale, count, channels, y);
  }
}

}  // namespace ivit::cuda
