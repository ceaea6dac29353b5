# 512-bit registers: AVX-512 with VNNI and VBMI.
ivit_cpu_variants(kAvx512Vnni)
