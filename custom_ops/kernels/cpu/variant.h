// The variants of the CPU kernels, one an instruction set, in one table: dispatch, tests and benchmarks all read it.
#pragma once

#include <string>
#include <vector>

#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_layer_norm.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/matmul.h"

namespace ivit::cpu {

// Every entry computes the same integers.
struct Variant {
  const char* name;
  bool (*supported)();
  // Multiply-adds of 8-bit integers per second, in units of 10^9, that one thread does without touching memory.
  double (*peak)(double seconds);
  MatmulKernel matmul;
  // ShiftGELU and its requantisation of whole rows, in place.
  void (*gelu)(int8_t* x, int64_t rows, int64_t channels, const GeluTable& table);
  AttentionKernel attention;
  WindowAttentionKernel window_attention;
  // IntLayerNorm of whole rows.
  void (*layer_norm)(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y);
  // The same, clamped to int16; in place is fine.
  void (*layer_norm16)(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y);
  // y[i] = table[x[i]] for a table of 256 bytes; in place is fine.
  void (*look_up)(const uint8_t* x, int64_t count, const int8_t* table, int8_t* y);
};

// The variants that this machine can run, fastest first.
const std::vector<const Variant*>& available_variants();

// The one in use: that named by the environment variable IVIT_CPU, otherwise the fastest available one. Decided once.
// Throws std::runtime_error, listing what is available, if IVIT_CPU names something else.
const Variant& active_variant();

extern const Variant kPortable;
#ifdef IVIT_X86_64
extern const Variant kAvx512Vnni;
extern const Variant kAvxVnni;
extern const Variant kAvx2;
#endif

}  // namespace ivit::cpu
