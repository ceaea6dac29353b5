// The variant for processors with AVX-512, VNNI and VBMI.
#include "kernels/cpu/look_up.h"
#include "kernels/cpu/matmul_avx512vnni.h"
#include "kernels/cpu/shift_gelu.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {

const Variant kAvx512Vnni = {"avx512vnni",
                             supports_avx512vnni,
                             peak_avx512vnni,
                             kMatmulAvx512Vnni,
                             gelu_rows_avx512vnni,
                             kAttentionAvx512Vnni,
                             attend_window_avx512vnni,
                             layer_norm_rows_avx512vnni,
                             layer_norm16_rows_avx512vnni,
                             look_up_avx512vnni};

}  // namespace ivit::cpu
