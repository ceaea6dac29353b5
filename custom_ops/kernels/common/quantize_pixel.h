// The quantisation of pixels, shared by all devices.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"

namespace ivit {

// (pixel * multiplier + offset) >> shift, one triple per colour.
struct PixelScale {
  const int32_t* multiplier;
  const int64_t* offset;
  const int8_t* shift;

  constexpr int8_t quantize(uint8_t pixel, int64_t colour) const {
    return saturate<int8_t>((int64_t{pixel} * multiplier[colour] + offset[colour]) >> shift[colour]);
  }
};

}  // namespace ivit
