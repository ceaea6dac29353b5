// IntTokenMean, IntTokenMean16: contract and call of the CPU kernel.
#include "kernels/cpu/int_token_mean.h"

#include "ort/operators/families.h"
#include "ort/operators/mean_tokens.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier, kShift };

template <class T>
class IntTokenMeanKernel final : public Kernel {
 public:
  explicit IntTokenMeanKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::int_token_mean(parallel, call.data<T>(kX), call.dims['N'], mean_tokens(call), call.dims['C'],
                        call.dyadic(kMultiplier), call.output<T>());
  }
};

template <class T>
OperatorSpec token_mean(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {activation("x", type, "NTC"), {"multiplier", kInt32, "?C"}, {"shift", kInt8, "?C", kShiftRange}},
          {"y", type, "NC"},
          {},
          create_kernel<IntTokenMeanKernel<T>>};
}

}  // namespace

std::vector<OperatorSpec> int_token_mean_operators() {
  return {token_mean<int8_t>("IntTokenMean", kInt8), token_mean<int16_t>("IntTokenMean16", kInt16)};
}

}  // namespace ivit::ort
