// Requantisation in 32-bit lanes.
//
// With e >= 33, (x * m + 2^(e-1)) >> e equals (high + 2^(e-33)) >> (e - 32), where `high` is the upper half of the
// 64-bit product: what the lower half adds is less than one. For a smaller e the value is shifted left first, as far as
// it has headroom; where it has not, kernels take 64 bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/dyadic.h"

namespace ivit::cpu {

// Whether a left shift keeps values up to `largest`, in absolute value, inside int32. Values that are not shifted may
// have wrapped around, as they like.
constexpr bool has_headroom(int64_t largest, int32_t shift) {
  return shift == 0 || largest <= (int64_t{INT32_MAX} >> shift);
}

// A dyadic number, that of channel 0, in this form.
struct NarrowScale {
  NarrowScale() = default;
  explicit NarrowScale(const Dyadic& scale)
      : wide(scale),
        multiplier(scale.multiplier[0]),
        pre_shift(std::max(0, kHigh + 1 - scale.shift[0])),
        rounding(static_cast<int32_t>(int64_t{1} << (scale.shift[0] + pre_shift - kHigh - 1))),
        post_shift(scale.shift[0] + pre_shift - kHigh) {}

  bool fits(int64_t largest) const { return has_headroom(largest, pre_shift); }
  bool fits_int16() const { return fits(int64_t{1} << 15); }

  Dyadic wide{};
  int32_t multiplier = 0;
  int32_t pre_shift = 0;
  int32_t rounding = 0;
  int32_t post_shift = 0;

 private:
  static constexpr int32_t kHigh = 32;
};

// The dyadic numbers of 16 channels, number by number as registers take them.
struct LaneScales {
  static constexpr int64_t kLanes = 16;

  // Channels [0, count) of `scale`, count <= 16: lane i has that of channel order[i], of channel i if `order` is null.
  void assign(const Dyadic& scale, int64_t count, const uint8_t* order = nullptr) {
    const bool same = scale.multiplier_stride == 0 && scale.shift_stride == 0;
    NarrowScale number(scale);
    largest_pre_shift = number.pre_shift;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const int64_t channel = order == nullptr ? lane : order[lane];
      // One number for all channels is taken apart once.
      if (!same && channel < count) number = NarrowScale(scale.from(channel));
      largest_pre_shift = std::max(largest_pre_shift, number.pre_shift);
      multiplier[lane] = number.multiplier;
      pre_shift[lane] = number.pre_shift;
      rounding[lane] = number.rounding;
      post_shift[lane] = number.post_shift;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) multiplier_odd[lane] = lane % 2 == 0 ? multiplier[lane + 1] : 0;
  }

  alignas(64) int32_t multiplier[kLanes];
  // The multiplier of each odd lane, standing at the even lane before it: what a product of odd lanes wants.
  int32_t multiplier_odd[kLanes];
  int32_t pre_shift[kLanes];
  int32_t rounding[kLanes];
  int32_t post_shift[kLanes];
  int32_t largest_pre_shift;
};

}  // namespace ivit::cpu
