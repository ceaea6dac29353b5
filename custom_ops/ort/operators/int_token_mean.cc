// IntTokenMean, IntTokenMean16: call of the CPU kernel.
#include "kernels/cpu/int_token_mean.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMeanKernel final : public Kernel {
 public:
  explicit IntTokenMeanKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    using T = typename Op::Output;
    cpu::int_token_mean(parallel, call.data<T>(Op::kX), call.dims['N'], call.dims['T'], call.dims['C'],
                        call.dyadic(Op::kScale), call.output<T>());
  }
};

}  // namespace

IVIT_KERNEL(IntTokenMean, IntTokenMeanKernel)
IVIT_KERNEL(IntTokenMean16, IntTokenMeanKernel)

}  // namespace ivit::ort
