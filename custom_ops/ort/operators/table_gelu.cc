// TableGELU: contract and call of the CPU kernel.
#include "kernels/cpu/table_gelu.h"

#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Input { kX, kTable };

class TableGeluKernel final : public Kernel {
 public:
  explicit TableGeluKernel(const Call& constants) : constant_(constants.is_constant(kTable)) {
    if (constant_) table_ = cpu::ByBits(constants.data<int8_t>(kTable));
  }
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::ByBits table = constant_ ? table_ : cpu::ByBits(call.data<int8_t>(kTable));
    cpu::table_gelu(parallel, call.data<int8_t>(kX), call.dims.rows(), call.dims['C'], table, call.output<int8_t>());
  }

 private:
  bool constant_;
  cpu::ByBits table_;
};

}  // namespace

std::vector<OperatorSpec> table_gelu_operators() {
  return {{"TableGELU",
           {activation("x", kInt8, "*C"), {"table", kInt8, "V"}},
           {"y", kInt8, "*C"},
           {},
           create_kernel<TableGeluKernel>}};
}

}  // namespace ivit::ort
