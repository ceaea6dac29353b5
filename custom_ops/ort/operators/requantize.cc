// Requantize, Requantize16, Requantize32: contract and call of the CPU kernel.
#include "kernels/cpu/requantize.h"

#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier, kShift };

template <class Out>
class RequantizeKernel final : public Kernel {
 public:
  explicit RequantizeKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::requantize(parallel, call.data<int32_t>(kX), call.dims.rows(), call.dims['C'], call.dyadic(kMultiplier),
                    call.output<Out>());
  }
};

template <class Out>
OperatorSpec requantize(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {activation("x", kInt32, "*C"), {"multiplier", kInt32, "?C"}, {"shift", kInt8, "?C", kShiftRange}},
          {"y", type, "*C"},
          {},
          create_kernel<RequantizeKernel<Out>>};
}

}  // namespace

std::vector<OperatorSpec> requantize_operators() {
  return {requantize<int8_t>("Requantize", kInt8), requantize<int16_t>("Requantize16", kInt16),
          requantize<int32_t>("Requantize32", kInt32)};
}

}  // namespace ivit::ort
