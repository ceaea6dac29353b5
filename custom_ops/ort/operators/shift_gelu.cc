// ShiftGELU: contract and call of the CPU kernel.
#include "kernels/cpu/shift_gelu.h"

#include "ort/operators/exponential.h"
#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Attribute { kX0, kN };

class ShiftGeluKernel final : public Kernel {
 public:
  explicit ShiftGeluKernel(const Call& constants) : exponential_(constants.attributes[kX0], constants.attributes[kN]) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::shift_gelu(parallel, call.data<int8_t>(0), call.dims.rows(), call.dims['C'], exponential_,
                    call.output<int16_t>());
  }

 private:
  ShiftExpTable exponential_;
};

}  // namespace

std::vector<OperatorSpec> shift_gelu_operators() {
  return {{"ShiftGELU",
           {activation("x", kInt8, "*C")},
           {"y", kInt16, "*C"},
           {x0_attribute(), n_attribute()},
           create_kernel<ShiftGeluKernel>}};
}

}  // namespace ivit::ort
