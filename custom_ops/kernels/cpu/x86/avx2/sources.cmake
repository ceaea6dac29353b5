# 256-bit registers. AVX-VNNI is AVX2 with one more instruction, the product of bytes.
ivit_cpu_variants(
  ROWS kAvxVnni kAvx2
  SOURCES attention.cc deferred_attention.cc layer_norm.cc look_up.cc matmul.cc tile.cc variant.cc)
