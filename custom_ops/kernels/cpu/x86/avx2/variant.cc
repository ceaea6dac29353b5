// The variants with 256-bit registers: for processors with AVX2, and with AVX-VNNI besides.
#include "kernels/cpu/variant.h"

#include <cpuid.h>

#include "kernels/cpu/x86/avx2/kernels.h"

namespace ivit::cpu {
namespace {

bool supports_avx2() { return __builtin_cpu_supports("avx2"); }

// Older compilers do not know the feature by name.
bool supports_avxvnni() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return supports_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 4)) != 0;
}

}  // namespace

extern const Variant kAvx2 = [] {
  Variant row("avx2", supports_avx2, avx2::peak);
  row.matmul = avx2::kMatmul;
  row.attention = avx2::kAttention;
  row.window_attention = avx2::attend_window;
  row.deferred_attention = avx2::kDeferredAttention;
  row.deferred_window_attention = avx2::attend_deferred_window;
  row.layer_norm = avx2::layer_norm_rows;
  row.look_up = avx2::look_up;
  row.look_up_rows = avx2::look_up_rows;
  return row;
}();

// The same with products of bytes.
extern const Variant kAvxVnni = [] {
  Variant row = kAvx2;
  row.name = "avxvnni";
  row.supported = supports_avxvnni;
  row.peak = avx2::peak_vnni;
  row.matmul = avx2::kMatmulVnni;
  row.attention = avx2::kAttentionVnni;
  row.window_attention = avx2::attend_window_vnni;
  row.deferred_attention = avx2::kDeferredAttentionVnni;
  row.deferred_window_attention = avx2::attend_deferred_window_vnni;
  return row;
}();

}  // namespace ivit::cpu
