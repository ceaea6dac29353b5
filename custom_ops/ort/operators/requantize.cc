// Requantize, Requantize16, Requantize32: call of the CPU kernel.
#include "kernels/cpu/requantize.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class RequantizeKernel final : public Kernel {
 public:
  explicit RequantizeKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::requantize(parallel, call.data<int32_t>(Op::kX), call.dims.rows(), call.dims['C'], call.dyadic(Op::kScale),
                    call.output<typename Op::Output>());
  }
};

}  // namespace

IVIT_KERNEL(Requantize, RequantizeKernel)
IVIT_KERNEL(Requantize16, RequantizeKernel)
IVIT_KERNEL(Requantize32, RequantizeKernel)

}  // namespace ivit::ort
