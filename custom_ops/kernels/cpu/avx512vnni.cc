// The variant for processors with AVX-512, VNNI and VBMI.
#include "kernels/cpu/look_up.h"
#include "kernels/cpu/matmul_avx512vnni.h"
#include "kernels/cpu/shift_gelu.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {

const Variant kAvx512Vnni = {"avx512vnni",       supports_avx512vnni, peak_avx512vnni,          kMatmulAvx512Vnni,
                             gelu_rows_portable, kAttentionAvx512Vnni,  layer_norm_rows_portable, look_up_portable};

}  // namespace ivit::cpu
