// Shiftmax, TableSoftmax: call of the CPU kernel.
#include "kernels/cpu/softmax.h"

#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

template <class Op>
class SoftmaxKernel final : public Kernel {
 public:
  explicit SoftmaxKernel(const Call& constants) : softmax_(constants) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    Softmax storage;
    cpu::softmax_rows(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), call.dims['T'],
                      softmax_.get(call, storage), call.output<int16_t>());
  }

 private:
  SoftmaxParameters<Op, Softmax> softmax_;
};

}  // namespace

IVIT_KERNEL(Shiftmax, SoftmaxKernel)
IVIT_KERNEL(TableSoftmax, SoftmaxKernel)

}  // namespace ivit::ort
