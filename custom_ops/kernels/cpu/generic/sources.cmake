# Plain C++, for every processor.
ivit_cpu_variants(
  ROWS kPortable
  SOURCES attention.cc deferred_attention.cc layer_norm.cc look_up.cc matmul.cc variant.cc)
