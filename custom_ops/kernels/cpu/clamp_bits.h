// Clamping int16 values to fewer bits.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ivit::cpu {

// In place, to the range of signed integers of `bits` bits, at most 16.
inline void clamp_bits(int16_t* values, int64_t count, int bits) {
  if (bits >= 16) return;
  const int16_t high = static_cast<int16_t>((1 << (bits - 1)) - 1);
  const int16_t low = static_cast<int16_t>(-high - 1);
  for (int64_t i = 0; i < count; ++i) values[i] = std::min(std::max(values[i], low), high);
}

}  // namespace ivit::cpu
