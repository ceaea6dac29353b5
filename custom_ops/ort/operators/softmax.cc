// Shiftmax, TableSoftmax: contracts and call of the CPU kernel.
#include "kernels/cpu/softmax.h"

#include "ort/operators/families.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

class SoftmaxKernel final : public Kernel {
 public:
  explicit SoftmaxKernel(const Call& constants) : softmax_(constants) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    Softmax storage;
    cpu::softmax_rows(parallel, call.data<int8_t>(0), call.dims.rows(), call.dims['T'], softmax_.get(call, storage),
                      call.output<int16_t>());
  }

 private:
  SoftmaxInput<Softmax> softmax_;
};

}  // namespace

std::vector<OperatorSpec> softmax_operators() {
  return {{"Shiftmax",
           {activation("x", kInt8, "*T")},
           {"y", kInt16, "*T"},
           shift_softmax_attributes(),
           create_kernel<SoftmaxKernel>},
          {"TableSoftmax",
           {activation("x", kInt8, "*T"), exponentials_input()},
           {"y", kInt16, "*T"},
           table_softmax_attributes(),
           create_kernel<SoftmaxKernel>}};
}

}  // namespace ivit::ort
