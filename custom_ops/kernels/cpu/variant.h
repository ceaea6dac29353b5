// The variants of the CPU kernels, one an instruction set, in one table: dispatch, tests and benchmarks all read it.
#pragma once

#include <vector>

#include "kernels/cpu/generic/kernels.h"

namespace ivit::cpu {

// A row. What it does not set is the kernel in plain C++.
struct Variant {
  Variant(const char* variant_name, bool (*is_supported)(), Peak* measure_peak)
      : name(variant_name), supported(is_supported), peak(measure_peak) {}

  const char* name;
  bool (*supported)();
  Peak* peak;
  MatmulKernel matmul = generic::kMatmul;
  AttentionKernel attention = generic::kAttention;
  WindowAttentionKernel* window_attention = generic::attend_window;
  DeferredAttentionKernel deferred_attention = generic::kDeferredAttention;
  DeferredWindowAttentionKernel* deferred_window_attention = generic::attend_deferred_window;
  LayerNormRows* layer_norm = generic::layer_norm_rows;
  LayerNorm16Rows* layer_norm16 = generic::layer_norm16_rows;
  LookUp* look_up = generic::look_up;
  LookUpRows* look_up_rows = generic::look_up_rows;
};

// The variants that this machine can run, fastest first.
const std::vector<const Variant*>& available_variants();

// The one in use: that named by the environment variable IVIT_CPU, otherwise the fastest available one. Decided once.
// Throws std::runtime_error, listing what is available, if IVIT_CPU names something else.
const Variant& active_variant();

}  // namespace ivit::cpu
