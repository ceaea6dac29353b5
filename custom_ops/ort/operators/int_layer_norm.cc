// IntLayerNorm, IntLayerNorm16: contract and call of the CPU kernel.
#include "kernels/cpu/int_layer_norm.h"

#include "ort/operators/families.h"
#include "ort/operators/norm.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier };

// `Normalize` is the kernel of one output type.
template <class Out, auto Normalize>
class IntLayerNormKernel final : public Kernel {
 public:
  explicit IntLayerNormKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::Affine affine = bind_affine(call, kMultiplier);
    Normalize(parallel, call.data<int16_t>(kX), call.dims.rows(), call.dims['C'], affine, call.output<Out>());
  }
};

template <class Out, auto Normalize>
OperatorSpec layer_norm(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {activation("x", kInt16, "*C"),
           {"multiplier", kInt32, "C"},
           {"offset", kInt64, "C", kOffsetRange},
           {"shift", kInt8, "C", kShiftRange}},
          {"y", type, "*C"},
          {},
          create_kernel<IntLayerNormKernel<Out, Normalize>>};
}

}  // namespace

std::vector<OperatorSpec> int_layer_norm_operators() {
  return {layer_norm<int8_t, cpu::int_layer_norm>("IntLayerNorm", kInt8),
          layer_norm<int16_t, cpu::int_layer_norm16>("IntLayerNorm16", kInt16)};
}

}  // namespace ivit::ort
