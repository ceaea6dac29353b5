# 256-bit registers. AVX-VNNI is AVX2 with one more instruction, the product of bytes.
ivit_cpu_variants(kAvxVnni kAvx2)
