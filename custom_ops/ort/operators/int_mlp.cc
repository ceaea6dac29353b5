// IntMlpAdd: contract and call of the CPU kernel.
#include "kernels/cpu/int_mlp.h"

#include "ort/operators/exponential.h"
#include "ort/operators/families.h"
#include "ort/operators/weight.h"

namespace ivit::ort {
namespace {

enum Input {
  kX,
  kResidual,
  kFc1Weight,
  kFc1Bias,
  kFc1Multiplier,
  kFc1Shift,
  kGeluMultiplier,
  kGeluShift,
  kFc2Weight,
  kFc2Bias,
  kFc2Multiplier,
  kFc2Shift,
  kBranchMultiplier,
  kBranchShift,
  kResidualMultiplier,
  kResidualShift
};
enum Attribute { kX0, kN };

class IntMlpAddKernel final : public Kernel {
 public:
  explicit IntMlpAddKernel(const Call& constants)
      : exponential_(constants.attributes[kX0], constants.attributes[kN]),
        fc1_weight_(constants, kFc1Weight, 'C', 'H'),
        fc2_weight_(constants, kFc2Weight, 'H', 'C') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedWeight fc1_storage;
    cpu::PackedWeight fc2_storage;
    const cpu::Mlp mlp{
        {fc1_weight_.packed(call, fc1_storage), call.data<int32_t>(kFc1Bias), call.dyadic(kFc1Multiplier)},
        exponential_,
        call.dyadic(kGeluMultiplier),
        {fc2_weight_.packed(call, fc2_storage), call.data<int32_t>(kFc2Bias), call.dyadic(kFc2Multiplier)}};
    const cpu::Residual residual{call.data<int16_t>(kResidual), call.dyadic(kBranchMultiplier),
                                 call.dyadic(kResidualMultiplier)};
    cpu::int_mlp_add(parallel, call.data<int8_t>(kX), call.dims.rows(), mlp, residual, static_cast<int16_t*>(output));
  }

 private:
  ShiftExpTable exponential_;
  Weight fc1_weight_;
  Weight fc2_weight_;
};

}  // namespace

std::vector<OperatorSpec> int_mlp_operators() {
  return {{"IntMlpAdd",
           {{"x", kInt8, "*C"},
            {"residual", kInt16, "*C"},
            {"fc1_weight", kInt8, "CH"},
            {"fc1_bias", kInt32, "H"},
            {"fc1_multiplier", kInt32, "?H"},
            {"fc1_shift", kInt32, "?H", kShiftRange},
            {"gelu_multiplier", kInt32, "?H"},
            {"gelu_shift", kInt32, "?H", kShiftRange},
            {"fc2_weight", kInt8, "HC"},
            {"fc2_bias", kInt32, "C"},
            {"fc2_multiplier", kInt32, "?C"},
            {"fc2_shift", kInt32, "?C", kShiftRange},
            {"branch_multiplier", kInt32, ""},
            {"branch_shift", kInt32, "", kShiftRange},
            {"residual_multiplier", kInt32, ""},
            {"residual_shift", kInt32, "", kShiftRange}},
           {"y", kInt16, "*C"},
           {x0_attribute(), n_attribute()},
           create_kernel<IntMlpAddKernel>}};
}

}  // namespace ivit::ort
