// IntMlpAdd, IntMlpAddNorm, IntTableMlpAdd, IntTableMlpAddNorm: contracts and call of the CPU kernel.
#include "kernels/cpu/int_mlp.h"

#include "kernels/cpu/table_gelu.h"
#include "ort/operators/exponential.h"
#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/norm.h"

namespace ivit::ort {
namespace {

enum Input { kX, kResidual, kFc1Weight, kGelu = kFc1Weight + 4 };
enum Attribute { kX0, kN };
// Where the inputs after those of the activation function stand, counted from the first of them.
enum Following {
  kFc2Weight,
  kBranchMultiplier = kFc2Weight + 4,
  kResidualMultiplier = kBranchMultiplier + 2,
  kNormMultiplier = kResidualMultiplier + 2
};

// ShiftGELU and the requantisation after it.
class ShiftActivation {
 public:
  static constexpr size_t kInputs = 2;

  explicit ShiftActivation(const Call& constants) : exponential_(constants.attributes[kX0], constants.attributes[kN]) {
    const bool constant = constants.is_constant(kGelu) && constants.is_constant(kGelu + 1);
    if (constant && constants.inputs[kGelu].scalar && constants.inputs[kGelu + 1].scalar) {
      table_ = std::make_unique<cpu::GeluTable>(exponential_, constants.dyadic(kGelu));
    }
  }

  cpu::MlpActivation get(const Call& call, cpu::ByBits&) const {
    return {nullptr, table_.get(), &exponential_, call.dyadic(kGelu)};
  }

 private:
  ShiftExpTable exponential_;
  std::unique_ptr<cpu::GeluTable> table_;
};

// TableGELU.
class TableActivation {
 public:
  static constexpr size_t kInputs = 1;

  explicit TableActivation(const Call& constants) : constant_(constants.is_constant(kGelu)) {
    if (constant_) table_ = cpu::ByBits(constants.data<int8_t>(kGelu));
  }

  cpu::MlpActivation get(const Call& call, cpu::ByBits& storage) const {
    if (constant_) return {table_.get()};
    storage = cpu::ByBits(call.data<int8_t>(kGelu));
    return {storage.get()};
  }

 private:
  bool constant_;
  cpu::ByBits table_;
};

template <class Activation, bool kWithNorm>
class IntMlpAddKernel final : public Kernel {
 public:
  explicit IntMlpAddKernel(const Call& constants)
      : fc1_(constants, kFc1Weight, 'C', 'H'),
        activation_(constants),
        fc2_(constants, kFollowing + kFc2Weight, 'H', 'C') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear fc1_storage;
    cpu::PackedLinear fc2_storage;
    cpu::ByBits table_storage;
    const cpu::Mlp mlp{fc1_.packed(call, fc1_storage), activation_.get(call, table_storage),
                       fc2_.packed(call, fc2_storage)};
    const cpu::Residual residual{call.data<int16_t>(kResidual), call.dyadic(kFollowing + kBranchMultiplier),
                                 call.dyadic(kFollowing + kResidualMultiplier)};
    cpu::Norm norm{};
    if constexpr (kWithNorm) {
      norm = {bind_affine(call, kFollowing + kNormMultiplier), call.output<int8_t>(1)};
    }
    cpu::int_mlp_add(parallel, call.data<int8_t>(kX), call.dims.rows(), mlp, residual, call.output<int16_t>(), norm);
  }

 private:
  static constexpr size_t kFollowing = kGelu + Activation::kInputs;

  LinearInputs fc1_;
  Activation activation_;
  LinearInputs fc2_;
};

std::vector<TensorSpec> mlp_inputs(const std::vector<TensorSpec>& gelu) {
  std::vector<TensorSpec> inputs = {activation("x", kInt8, "*C"),     activation("residual", kInt16, "*C"),
                                    {"fc1_weight", kInt8, "CH"},      {"fc1_bias", kInt32, "H"},
                                    {"fc1_multiplier", kInt32, "?H"}, {"fc1_shift", kInt8, "?H", kShiftRange}};
  inputs.insert(inputs.end(), gelu.begin(), gelu.end());
  for (const TensorSpec& input : std::vector<TensorSpec>{{"fc2_weight", kInt8, "HC"},
                                                         {"fc2_bias", kInt32, "C"},
                                                         {"fc2_multiplier", kInt32, "?C"},
                                                         {"fc2_shift", kInt8, "?C", kShiftRange},
                                                         {"branch_multiplier", kInt32, ""},
                                                         {"branch_shift", kInt8, "", kShiftRange},
                                                         {"residual_multiplier", kInt32, ""},
                                                         {"residual_shift", kInt8, "", kShiftRange}}) {
    inputs.push_back(input);
  }
  return inputs;
}

// The operator, and that with the normalisation after it.
template <class Activation>
void append_operators(std::vector<OperatorSpec>& operators, const char* name, const char* name_with_norm,
                      const std::vector<TensorSpec>& inputs, const std::vector<AttributeSpec>& attributes) {
  operators.push_back(
      {name, inputs, {"y", kInt16, "*C"}, attributes, create_kernel<IntMlpAddKernel<Activation, false>>});
  std::vector<TensorSpec> with_norm = inputs;
  append_norm_inputs(with_norm, "C");
  operators.push_back({name_with_norm,
                       with_norm,
                       {"y", kInt16, "*C"},
                       attributes,
                       create_kernel<IntMlpAddKernel<Activation, true>>,
                       nullptr,
                       {"normalized", kInt8, "*C"}});
}

}  // namespace

std::vector<OperatorSpec> int_mlp_operators() {
  std::vector<OperatorSpec> operators;
  append_operators<ShiftActivation>(
      operators, "IntMlpAdd", "IntMlpAddNorm",
      mlp_inputs({{"gelu_multiplier", kInt32, "?H"}, {"gelu_shift", kInt8, "?H", kShiftRange}}),
      {x0_attribute(), n_attribute()});
  append_operators<TableActivation>(operators, "IntTableMlpAdd", "IntTableMlpAddNorm",
                                    mlp_inputs({{"gelu_table", kInt8, "V"}}), {});
  return operators;
}

}  // namespace ivit::ort
