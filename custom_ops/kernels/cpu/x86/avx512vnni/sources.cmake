# 512-bit registers: AVX-512 with VNNI and VBMI.
ivit_cpu_variants(
  ROWS kAvx512Vnni
  SOURCES attention.cc deferred_attention.cc layer_norm.cc look_up.cc matmul.cc peak.cc variant.cc window_attention.cc)
