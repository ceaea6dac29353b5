// Bytes through a table of 256 bytes: what an elementwise function of 8-bit values comes down to.
#pragma once

#include <cstdint>

namespace ivit::cpu {

// y[i] = table[x[i]], the portable form of Variant::look_up. In place is fine.
inline void look_up_portable(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

#ifdef IVIT_X86_64
void look_up_avx512vnni(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);
#endif

}  // namespace ivit::cpu
