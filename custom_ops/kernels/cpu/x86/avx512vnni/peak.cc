// How fast the processor multiplies bytes with AVX-512 VNNI.
#include <immintrin.h>

#include <chrono>
#include <cstdint>

#include "kernels/cpu/x86/avx512vnni/kernels.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {

double peak(double seconds) {
  constexpr int64_t kSteps = 100000;
  __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0,
          a10 = a0, a11 = a0;
  const __m512i values = _mm512_set1_epi8(3);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t steps = 0;
  for (; elapsed < seconds; elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int64_t i = 0; i < kSteps; ++i) {
      IVIT_DOT(a0, values, values);
      IVIT_DOT(a1, values, values);
      IVIT_DOT(a2, values, values);
      IVIT_DOT(a3, values, values);
      IVIT_DOT(a4, values, values);
      IVIT_DOT(a5, values, values);
      IVIT_DOT(a6, values, values);
      IVIT_DOT(a7, values, values);
      IVIT_DOT(a8, values, values);
      IVIT_DOT(a9, values, values);
      IVIT_DOT(a10, values, values);
      IVIT_DOT(a11, values, values);
    }
    // Keeps the compiler from leaving out what nobody reads.
    asm volatile("" ::"v"(a0), "v"(a1), "v"(a2), "v"(a3), "v"(a4), "v"(a5));
    asm volatile("" ::"v"(a6), "v"(a7), "v"(a8), "v"(a9), "v"(a10), "v"(a11));
    steps += kSteps;
  }
  return static_cast<double>(steps) * 12 * 64 / elapsed * 1e-9;
}

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
