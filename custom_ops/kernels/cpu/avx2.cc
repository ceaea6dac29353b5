// The variants with 256-bit registers: for processors with AVX2, and with AVX-VNNI besides.
#include <cpuid.h>

#include "kernels/cpu/int_attention_avx2.h"
#include "kernels/cpu/int_layer_norm_avx2.h"
#include "kernels/cpu/int_window_attention_avx2.h"
#include "kernels/cpu/look_up_avx2.h"
#include "kernels/cpu/matmul_avx2.h"
#include "kernels/cpu/tile_avx2.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

bool supports_avx2() { return __builtin_cpu_supports("avx2"); }

// Older compilers do not know the feature by name.
bool supports_avxvnni() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return supports_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1u << 4)) != 0;
}

}  // namespace

const Variant kAvx2 = {"avx2",
                       supports_avx2,
                       peak_avx2,
                       kMatmulAvx2,
                       gelu_rows_avx2,
                       kAttentionAvx2,
                       attend_window_avx2,
                       layer_norm_rows_avx2,
                       layer_norm16_rows_portable,
                       look_up_avx2};
const Variant kAvxVnni = {"avxvnni",
                          supports_avxvnni,
                          peak_avxvnni,
                          kMatmulAvxVnni,
                          gelu_rows_avx2,
                          kAttentionAvxVnni,
                          attend_window_avxvnni,
                          layer_norm_rows_avx2,
                          layer_norm16_rows_portable,
                          look_up_avx2};

}  // namespace ivit::cpu
