// The variants of the CPU kernels, one an instruction set, in one table: dispatch, tests and benchmarks all read it.
#pragma once

#include <vector>

#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu {

// Every row computes the same integers. What a row does not set is the kernel in plain C++.
struct Variant {
  Variant(const char* variant_name, bool (*is_supported)(), double (*measure_peak)(double seconds))
      : name(variant_name), supported(is_supported), peak(measure_peak) {}

  const char* name;
  bool (*supported)();
  // Multiply-adds of 8-bit integers per second, in units of 10^9, that one thread does without touching memory.
  double (*peak)(double seconds);
  MatmulKernel matmul = generic::kMatmul;
  // ShiftGELU and its requantisation of whole rows, in place.
  void (*gelu)(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table) = generic::gelu_rows;
  AttentionKernel attention = generic::kAttention;
  WindowAttentionKernel window_attention = generic::attend_window;
  // IntLayerNorm of whole rows.
  void (*layer_norm)(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                     int8_t* y) = generic::layer_norm_rows;
  // The same, clamped to int16; in place is fine.
  void (*layer_norm16)(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine,
                       int16_t* y) = generic::layer_norm16_rows;
  // y[i] = table[x[i]] for a table of 256 bytes; in place is fine.
  void (*look_up)(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y) = generic::look_up;
};

// The variants that this machine can run, fastest first.
const std::vector<const Variant*>& available_variants();

// The one in use: that named by the environment variable IVIT_CPU, otherwise the fastest available one. Decided once.
// Throws std::runtime_error, listing what is available, if IVIT_CPU names something else.
const Variant& active_variant();

}  // namespace ivit::cpu
