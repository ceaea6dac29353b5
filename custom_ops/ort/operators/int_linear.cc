// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: contracts and calls of the CPU kernels.
#include "kernels/cpu/int_linear.h"

#include "ort/operators/families.h"
#include "ort/operators/linear.h"

namespace ivit::ort {
namespace {

enum LinearInput { kX, kWeight };

template <class Out>
class IntLinearKernel final : public Kernel {
 public:
  explicit IntLinearKernel(const Call& constants) : linear_(constants, kWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    cpu::matmul(parallel, call.data<int8_t>(kX), call.dims.rows(), linear,
                cpu::requantize_to(static_cast<Out*>(output), linear));
  }

 private:
  LinearInputs linear_;
};

template <class Out>
OperatorSpec int_linear(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {{"x", kInt8, "*K"},
           {"weight", kInt8, "KN"},
           {"bias", kInt32, "N"},
           {"multiplier", kInt32, "?N"},
           {"shift", kInt8, "?N", kShiftRange}},
          {"y", type, "*N"},
          {},
          create_kernel<IntLinearKernel<Out>>};
}

enum LinearAddInput {
  kAddX,
  kAddResidual,
  kAddWeight,
  kBranchMultiplier = kAddWeight + 4,
  kBranchShift,
  kResidualMultiplier,
  kResidualShift
};

class IntLinearAddKernel final : public Kernel {
 public:
  explicit IntLinearAddKernel(const Call& constants) : linear_(constants, kAddWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    const cpu::Residual residual{call.data<int16_t>(kAddResidual), call.dyadic(kBranchMultiplier),
                                 call.dyadic(kResidualMultiplier)};
    cpu::matmul(parallel, call.data<int8_t>(kAddX), call.dims.rows(), linear,
                cpu::add_residual_to(static_cast<int16_t*>(output), linear, residual));
  }

 private:
  LinearInputs linear_;
};

OperatorSpec int_linear_add() {
  return {"IntLinearAdd",
          {{"x", kInt8, "*K"},
           {"residual", kInt16, "*N"},
           {"weight", kInt8, "KN"},
           {"bias", kInt32, "N"},
           {"multiplier", kInt32, "?N"},
           {"shift", kInt8, "?N", kShiftRange},
           {"branch_multiplier", kInt32, ""},
           {"branch_shift", kInt8, "", kShiftRange},
           {"residual_multiplier", kInt32, ""},
           {"residual_shift", kInt8, "", kShiftRange}},
          {"y", kInt16, "*N"},
          {},
          create_kernel<IntLinearAddKernel>};
}

}  // namespace

std::vector<OperatorSpec> int_linear_operators() {
  return {int_linear<int8_t>("IntLinear", kInt8), int_linear<int16_t>("IntLinear16", kInt16),
          int_linear<int32_t>("IntLinear32", kInt32), int_linear_add()};
}

}  // namespace ivit::ort
