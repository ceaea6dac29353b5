// Deferred normalisation of attentions, shared by all devices: exponentials of scores times values first, divided by
// the sum of their row afterwards. ivit_onnx/opset/_deferred.py has the same in Python, and says why.
#pragma once

#include <cstdint>

namespace ivit {

constexpr int kDeferredEntries = 256;
// Steps of the dither from token to token, in 2^-15.
constexpr int32_t kDither = 20251;

struct DeferredSoftmax {
  const int16_t* exponentials;  // [kDeferredEntries], 0 to 32767
  int32_t score_shift;          // last bits of a product that a score loses
  int32_t distance_multiplier;  // 1 to 32767
  int32_t level_bits;           // 7 to 15

  constexpr int32_t levels() const { return 1 << level_bits; }

  // The entry of the exponential of a score, by its distance from the maximum of its row, 0 to 65535.
  constexpr int32_t entry(int32_t distance) const {
    const int32_t near = distance < 32767 ? distance : 32767;
    const int32_t scaled = (near * distance_multiplier + (1 << 14)) >> 15;
    return scaled < kDeferredEntries ? scaled : kDeferredEntries - 1;
  }

  // What is added to the exponential of a token of the row before it is truncated.
  constexpr int32_t dither(int64_t token) const {
    return static_cast<int32_t>(token * kDither % (1 << 15)) >> level_bits;
  }

  // The exponential of an entry for a token of the row, in levels.
  constexpr int32_t exponential(int32_t entry, int64_t token) const { return truncated(entry, dither(token)); }

  // The same by the token's dither.
  constexpr int32_t truncated(int32_t entry, int32_t dither) const {
    const int32_t exponential = (exponentials[entry] + dither) >> (15 - level_bits);
    return exponential < levels() ? exponential : levels() - 1;
  }

  // What the products of a row are multiplied with, by the sum of its exponentials: at most 2^31 - 1.
  constexpr int32_t factor(int32_t sum) const {
    const int32_t least = levels() / 32;
    return static_cast<int32_t>(((int64_t{1} << (26 + level_bits)) - 1) / (sum < least ? least : sum));
  }

  // The context of a sum of exponentials times values, with 15 fractional bits. As that is at most 128 times the sum of
  // the exponentials, this is at most 2^22 in absolute value.
  constexpr int32_t context(int32_t values, int32_t factor) const {
    const int32_t shift = level_bits + 11;
    return static_cast<int32_t>((int64_t{values} * factor + (int64_t{1} << (shift - 1))) >> shift);
  }
};

}  // namespace ivit
