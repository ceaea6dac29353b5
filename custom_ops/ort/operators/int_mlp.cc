// IntMlpAdd, IntMlpAddNorm: contract and call of the CPU kernel.
#include "kernels/cpu/int_mlp.h"

#include "ort/operators/exponential.h"
#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/norm.h"

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
  kResidualShift,
  kNormMultiplier
};
enum Attribute { kX0, kN };

template <bool kWithNorm>
class IntMlpAddKernel final : public Kernel {
 public:
  explicit IntMlpAddKernel(const Call& constants)
      : exponential_(constants.attributes[kX0], constants.attributes[kN]),
        fc1_(constants, kFc1Weight, 'C', 'H'),
        fc2_(constants, kFc2Weight, 'H', 'C') {
    const bool constant = constants.is_constant(kGeluMultiplier) && constants.is_constant(kGeluShift);
    if (constant && constants.inputs[kGeluMultiplier].scalar && constants.inputs[kGeluShift].scalar) {
      gelu_table_ = std::make_unique<cpu::GeluTable>(exponential_, constants.dyadic(kGeluMultiplier));
    }
  }
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedLinear fc1_storage;
    cpu::PackedLinear fc2_storage;
    const cpu::Mlp mlp{fc1_.packed(call, fc1_storage), exponential_, gelu_table_.get(), call.dyadic(kGeluMultiplier),
                       fc2_.packed(call, fc2_storage)};
    const cpu::Residual residual{call.data<int16_t>(kResidual), call.dyadic(kBranchMultiplier),
                                 call.dyadic(kResidualMultiplier)};
    cpu::Norm norm{};
    if constexpr (kWithNorm) {
      norm = {bind_affine(call, kNormMultiplier), static_cast<int8_t*>(call.second_output)};
    }
    cpu::int_mlp_add(parallel, call.data<int8_t>(kX), call.dims.rows(), mlp, residual, static_cast<int16_t*>(output),
                     norm);
  }

 private:
  ShiftExpTable exponential_;
  LinearInputs fc1_;
  LinearInputs fc2_;
  std::unique_ptr<cpu::GeluTable> gelu_table_;
};

std::vector<TensorSpec> mlp_inputs() {
  return {activation("x", kInt8, "*C"),        activation("residual", kInt16, "*C"),
          {"fc1_weight", kInt8, "CH"},         {"fc1_bias", kInt32, "H"},
          {"fc1_multiplier", kInt32, "?H"},    {"fc1_shift", kInt8, "?H", kShiftRange},
          {"gelu_multiplier", kInt32, "?H"},   {"gelu_shift", kInt8, "?H", kShiftRange},
          {"fc2_weight", kInt8, "HC"},         {"fc2_bias", kInt32, "C"},
          {"fc2_multiplier", kInt32, "?C"},    {"fc2_shift", kInt8, "?C", kShiftRange},
          {"branch_multiplier", kInt32, ""},   {"branch_shift", kInt8, "", kShiftRange},
          {"residual_multiplier", kInt32, ""}, {"residual_shift", kInt8, "", kShiftRange}};
}

}  // namespace

std::vector<OperatorSpec> int_mlp_operators() {
  std::vector<TensorSpec> with_norm = mlp_inputs();
  append_norm_inputs(with_norm, "C");
  return {{"IntMlpAdd",
           mlp_inputs(),
           {"y", kInt16, "*C"},
           {x0_attribute(), n_attribute()},
           create_kernel<IntMlpAddKernel<false>>},
          {"IntMlpAddNorm",
           with_norm,
           {"y", kInt16, "*C"},
           {x0_attribute(), n_attribute()},
           create_kernel<IntMlpAddKernel<true>>,
           nullptr,
           {"normalized", kInt8, "*C"}}};
}

}  // namespace ivit::ort
