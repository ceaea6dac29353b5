// Shiftmax: contract and call of the CPU kernel.
#include "kernels/cpu/shiftmax.h"

#include "ort/operators/exponential.h"
#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Attribute { kX0, kN, kFracBits };

class ShiftmaxKernel final : public Kernel {
 public:
  explicit ShiftmaxKernel(const Call& constants) : exponential_(constants.attributes[kX0], constants.attributes[kN]) {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::shiftmax(parallel, call.data<int8_t>(0), call.dims.rows(), call.dims['T'], exponential_,
                  static_cast<int>(call.attributes[kFracBits]), static_cast<int16_t*>(output));
  }

 private:
  ShiftExpTable exponential_;
};

}  // namespace

std::vector<OperatorSpec> shiftmax_operators() {
  return {{"Shiftmax",
           {activation("x", kInt8, "*T")},
           {"y", kInt16, "*T"},
           {x0_attribute(), n_attribute(), frac_bits_attribute()},
           create_kernel<ShiftmaxKernel>}};
}

}  // namespace ivit::ort
