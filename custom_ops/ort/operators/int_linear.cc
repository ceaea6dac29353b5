// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: contracts and calls of the CPU kernels.
#include "kernels/cpu/int_linear.h"

#include "ort/operators/families.h"
#include "ort/operators/weight.h"

namespace ivit::ort {
namespace {

enum LinearInput { kX, kWeight, kBias, kMultiplier, kShift };

template <class Out>
class IntLinearKernel final : public Kernel {
 public:
  explicit IntLinearKernel(const Call& constants) : weight_(constants, kWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedWeight storage;
    const cpu::Linear linear{weight_.packed(call, storage), call.data<int32_t>(kBias), call.dyadic(kMultiplier)};
    cpu::int_linear(parallel, call.data<int8_t>(kX), call.dims.rows(), linear, static_cast<Out*>(output));
  }

 private:
  Weight weight_;
};

template <class Out>
OperatorSpec int_linear(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {{"x", kInt8, "*K"},
           {"weight", kInt8, "KN"},
           {"bias", kInt32, "N"},
           {"multiplier", kInt32, "?N"},
           {"shift", kInt32, "?N", kShiftRange}},
          {"y", type, "*N"},
          {},
          create_kernel<IntLinearKernel<Out>>};
}

enum LinearAddInput {
  kAddX,
  kAddResidual,
  kAddWeight,
  kAddBias,
  kAddMultiplier,
  kAddShift,
  kBranchMultiplier,
  kBranchShift,
  kResidualMultiplier,
  kResidualShift
};

class IntLinearAddKernel final : public Kernel {
 public:
  explicit IntLinearAddKernel(const Call& constants) : weight_(constants, kAddWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedWeight storage;
    const cpu::Linear linear{weight_.packed(call, storage), call.data<int32_t>(kAddBias), call.dyadic(kAddMultiplier)};
    const cpu::Residual residual{call.data<int16_t>(kAddResidual), call.dyadic(kBranchMultiplier),
                                 call.dyadic(kResidualMultiplier)};
    cpu::int_linear_add(parallel, call.data<int8_t>(kAddX), call.dims.rows(), linear, residual,
                        static_cast<int16_t*>(output));
  }

 private:
  Weight weight_;
};

OperatorSpec int_linear_add() {
  return {"IntLinearAdd",
          {{"x", kInt8, "*K"},
           {"residual", kInt16, "*N"},
           {"weight", kInt8, "KN"},
           {"bias", kInt32, "N"},
           {"multiplier", kInt32, "?N"},
           {"shift", kInt32, "?N", kShiftRange},
           {"branch_multiplier", kInt32, ""},
           {"branch_shift", kInt32, "", kShiftRange},
           {"residual_multiplier", kInt32, ""},
           {"residual_shift", kInt32, "", kShiftRange}},
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
