// AddRequantize: contract and call of the CPU kernel.
#include "kernels/cpu/add_requantize.h"

#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Input { kA, kAMultiplier, kAShift, kB, kBMultiplier, kBShift };

class AddRequantizeKernel final : public Kernel {
 public:
  explicit AddRequantizeKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::add_requantize(parallel, call.data<int16_t>(kA), call.dyadic(kAMultiplier), call.data<int16_t>(kB),
                        call.dyadic(kBMultiplier), call.dims.rows(), call.dims['C'], call.output<int16_t>());
  }
};

}  // namespace

std::vector<OperatorSpec> add_requantize_operators() {
  return {{"AddRequantize",
           {activation("a", kInt16, "*C"),
            {"a_multiplier", kInt32, "?C"},
            {"a_shift", kInt8, "?C", kShiftRange},
            activation("b", kInt16, "*C"),
            {"b_multiplier", kInt32, "?C"},
            {"b_shift", kInt8, "?C", kShiftRange}},
           {"y", kInt16, "*C"},
           {},
           create_kernel<AddRequantizeKernel>}};
}

}  // namespace ivit::ort
