// IntLayerNorm: contract and call of the CPU kernel.
#include "kernels/cpu/int_layer_norm.h"

#include "ort/operators/families.h"
#include "ort/operators/norm.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier };

class IntLayerNormKernel final : public Kernel {
 public:
  explicit IntLayerNormKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    const cpu::Affine affine = bind_affine(call, kMultiplier);
    cpu::int_layer_norm(parallel, call.data<int16_t>(kX), call.dims.rows(), call.dims['C'], affine,
                        static_cast<int8_t*>(output));
  }
};

}  // namespace

std::vector<OperatorSpec> int_layer_norm_operators() {
  return {{"IntLayerNorm",
           {{"x", kInt16, "*C"},
            {"multiplier", kInt32, "C"},
            {"offset", kInt64, "C", kOffsetRange},
            {"shift", kInt8, "C", kShiftRange}},
           {"y", kInt8, "*C"},
           {},
           create_kernel<IntLayerNormKernel>}};
}

}  // namespace ivit::ort
