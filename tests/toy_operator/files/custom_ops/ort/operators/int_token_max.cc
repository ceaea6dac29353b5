// IntTokenMax: call of the CPU kernel.
#include "kernels/cpu/int_token_max.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMaxKernel final : public Kernel {
 public:
  explicit IntTokenMaxKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::int_token_max(parallel, call.data<int8_t>(Op::kX), call.dims['N'], call.dims['T'], call.dims['C'],
                       call.dyadic(Op::kScale), call.output<int8_t>());
  }
};

}  // namespace

IVIT_KERNEL(IntTokenMax, IntTokenMaxKernel)

}  // namespace ivit::ort
