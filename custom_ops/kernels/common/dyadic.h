// Dyadic requantisation, the one way in which every kernel changes a scale. Written once, as constexpr functions,
// so that all kernels on all devices share the same arithmetic.
#pragma once

#include <cstdint>
#include <limits>

namespace ivit {

// Clamps to the range of Out.
template <class Out>
constexpr Out saturate(int64_t x) {
  constexpr int64_t low = std::numeric_limits<Out>::min();
  constexpr int64_t high = std::numeric_limits<Out>::max();
  return static_cast<Out>(x < low ? low : x > high ? high : x);
}

// (x * m + 2^(e-1)) >> e. With x and m of 32 bits and 1 <= e <= 62 nothing overflows: 2^62 + 2^61 < 2^63.
constexpr int64_t scale_round(int32_t x, int32_t multiplier, int32_t shift) {
  return (static_cast<int64_t>(x) * multiplier + (int64_t{1} << (shift - 1))) >> shift;
}

// The dyadic numbers m * 2^-e of a tensor: the stride is 1 for a value per channel, 0 for one value for all channels.
struct Dyadic {
  const int32_t* multiplier;
  int64_t multiplier_stride;
  const int8_t* shift;
  int64_t shift_stride;

  constexpr int64_t scale(int32_t x, int64_t channel) const {
    return scale_round(x, multiplier[channel * multiplier_stride], shift[channel * shift_stride]);
  }

  // The same numbers, counted from another channel on.
  constexpr Dyadic from(int64_t channel) const {
    return {multiplier + channel * multiplier_stride, multiplier_stride, shift + channel * shift_stride, shift_stride};
  }
};

}  // namespace ivit
