// IntLayerNorm, IntLayerNorm16: call of the CPU kernel.
#include "kernels/cpu/int_layer_norm.h"

#include <type_traits>

#include "ort/operators/affine.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntLayerNormKernel final : public Kernel {
 public:
  explicit IntLayerNormKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::Affine affine = bind_affine(call, Op::kAffine);
    constexpr auto normalize = [] {
      if constexpr (std::is_same_v<typename Op::Output, int8_t>) {
        return cpu::int_layer_norm;
      } else {
        return cpu::int_layer_norm16;
      }
    }();
    normalize(parallel, call.data<int16_t>(Op::kX), call.dims.rows(), call.dims['C'], affine,
              call.output<typename Op::Output>());
  }
};

}  // namespace

IVIT_KERNEL(IntLayerNorm, IntLayerNormKernel)
IVIT_KERNEL(IntLayerNorm16, IntLayerNormKernel)

}  // namespace ivit::ort
