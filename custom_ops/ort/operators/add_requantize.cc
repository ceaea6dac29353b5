// AddRequantize: call of the CPU kernel.
#include "kernels/cpu/add_requantize.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class AddRequantizeKernel final : public Kernel {
 public:
  explicit AddRequantizeKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::add_requantize(parallel, call.data<int16_t>(Op::kA), call.dyadic(Op::kAScale), call.data<int16_t>(Op::kB),
                        call.dyadic(Op::kBScale), call.dims.rows(), call.dims['C'], call.output<int16_t>());
  }
};

}  // namespace

IVIT_KERNEL(AddRequantize, AddRequantizeKernel)

}  // namespace ivit::ort
