// The variant in plain C++, which compilers vectorise for the baseline instruction set.
#include "kernels/cpu/variant.h"

#include <chrono>

#include "kernels/cpu/generic/dot.h"
#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu {

double generic::peak(double seconds) {
  int16_t a[kDotRows * 256];
  int16_t b[kDotColumns * 256];
  for (int i = 0; i < kDotRows * 256; ++i) a[i] = static_cast<int16_t>(i % 251 - 125);
  for (int i = 0; i < kDotColumns * 256; ++i) b[i] = static_cast<int16_t>(i % 241 - 120);
  int32_t sums[kDotRows * kDotColumns];
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t products = 0;
  for (; elapsed < seconds; elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()) {
    for (int i = 0; i < 1000; ++i) {
      dot_4x2(a, b, 256, sums, kDotColumns);
      // Every sum has to be used, or the compiler leaves it out.
      int32_t all = 0;
      for (const int32_t sum : sums) all ^= sum;
      a[i % 256] = static_cast<int16_t>(all & 127);
    }
    products += int64_t{1000} * kDotRows * kDotColumns * 256;
  }
  return static_cast<double>(products) / elapsed * 1e-9;
}

extern const Variant kPortable("portable", [] { return true; }, generic::peak);

}  // namespace ivit::cpu
