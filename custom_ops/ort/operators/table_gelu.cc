// TableGELU: call of the CPU kernel.
#include "kernels/cpu/table_gelu.h"

#include "ort/operator.h"

namespace ivit::ort {
namespace {

template <class Op>
class TableGeluKernel final : public Kernel {
 public:
  explicit TableGeluKernel(const Call& constants) : constant_(constants.is_constant(Op::kTable)) {
    if (constant_) table_ = cpu::ByBits(constants.data<int8_t>(Op::kTable));
  }
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::ByBits table = constant_ ? table_ : cpu::ByBits(call.data<int8_t>(Op::kTable));
    cpu::table_gelu(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), call.dims['C'], table,
                    call.output<int8_t>());
  }

 private:
  bool constant_;
  cpu::ByBits table_;
};

}  // namespace

IVIT_KERNEL(TableGELU, TableGeluKernel)

}  // namespace ivit::ort
