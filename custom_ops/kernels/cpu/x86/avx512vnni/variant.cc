// The variant for processors with AVX-512, VNNI and VBMI.
#include "kernels/cpu/variant.h"

#include "kernels/cpu/x86/avx512vnni/kernels.h"

namespace ivit::cpu {
namespace {

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

}  // namespace

extern const Variant kAvx512Vnni = [] {
  Variant row("avx512vnni", supported, avx512vnni::peak);
  row.matmul = avx512vnni::kMatmul;
  row.attention = avx512vnni::kAttention;
  row.window_attention = avx512vnni::attend_window;
  row.deferred_attention = avx512vnni::kDeferredAttention;
  row.deferred_window_attention = avx512vnni::attend_deferred_window;
  row.layer_norm = avx512vnni::layer_norm_rows;
  row.layer_norm16 = avx512vnni::layer_norm16_rows;
  row.look_up = avx512vnni::look_up;
  row.look_up_rows = avx512vnni::look_up_rows;
  return row;
}();

}  // namespace ivit::cpu
