// ShiftGELU: call of the CPU kernel.
#include "kernels/cpu/shift_gelu.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class ShiftGeluKernel final : public Kernel {
 public:
  explicit ShiftGeluKernel(const Call& constants)
      : exponential_(constants.attributes[Op::kX0], constants.attributes[Op::kN]) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::shift_gelu(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), call.dims['C'], exponential_,
                    call.output<int16_t>());
  }

 private:
  ShiftExpTable exponential_;
};

}  // namespace

IVIT_KERNEL(ShiftGELU, ShiftGeluKernel)

}  // namespace ivit::ort
