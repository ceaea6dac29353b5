// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm: contracts and calls of the CPU kernels.
#include "kernels/cpu/int_linear.h"

#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/norm.h"

namespace ivit::ort {
namespace {

enum LinearInput { kX, kWeight };

template <class Out>
class IntLinearKernel final : public Kernel {
 public:
  explicit IntLinearKernel(const Call& constants) : linear_(constants, kWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    cpu::matmul(parallel, call.data<int8_t>(kX), call.dims.rows(), linear,
                cpu::requantize_to(call.output<Out>(), linear));
  }

 private:
  LinearInputs linear_;
};

template <class Out>
OperatorSpec int_linear(const char* name, ONNXTensorElementDataType type) {
  return {name,
          {activation("x", kInt8, "*K"),
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
  kResidualShift,
  kNormMultiplier
};

cpu::Residual bind_residual(const Call& call) {
  return {call.data<int16_t>(kAddResidual), call.dyadic(kBranchMultiplier), call.dyadic(kResidualMultiplier)};
}

class IntLinearAddKernel final : public Kernel {
 public:
  explicit IntLinearAddKernel(const Call& constants) : linear_(constants, kAddWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    cpu::matmul(parallel, call.data<int8_t>(kAddX), call.dims.rows(), linear,
                cpu::add_residual_to(call.output<int16_t>(), linear, bind_residual(call)));
  }

 private:
  LinearInputs linear_;
};

class IntLinearAddNormKernel final : public Kernel {
 public:
  explicit IntLinearAddNormKernel(const Call& constants) : linear_(constants, kAddWeight, 'K', 'N') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::Norm norm{bind_affine(call, kNormMultiplier), call.output<int8_t>(1)};
    cpu::int_linear_add_norm(parallel, call.data<int8_t>(kAddX), call.dims.rows(), linear_.packed(call, storage),
                             bind_residual(call), call.output<int16_t>(), norm);
  }

 private:
  LinearInputs linear_;
};

std::vector<TensorSpec> linear_add_inputs() {
  return {activation("x", kInt8, "*K"),
          activation("residual", kInt16, "*N"),
          {"weight", kInt8, "KN"},
          {"bias", kInt32, "N"},
          {"multiplier", kInt32, "?N"},
          {"shift", kInt8, "?N", kShiftRange},
          {"branch_multiplier", kInt32, ""},
          {"branch_shift", kInt8, "", kShiftRange},
          {"residual_multiplier", kInt32, ""},
          {"residual_shift", kInt8, "", kShiftRange}};
}

OperatorSpec int_linear_add() {
  return {"IntLinearAdd", linear_add_inputs(), {"y", kInt16, "*N"}, {}, create_kernel<IntLinearAddKernel>};
}

OperatorSpec int_linear_add_norm() {
  std::vector<TensorSpec> inputs = linear_add_inputs();
  append_norm_inputs(inputs, "N");
  return {"IntLinearAddNorm",         inputs, {"y", kInt16, "*N"}, {}, create_kernel<IntLinearAddNormKernel>, nullptr,
          {"normalized", kInt8, "*N"}};
}

}  // namespace

std::vector<OperatorSpec> int_linear_operators() {
  return {int_linear<int8_t>("IntLinear", kInt8), int_linear<int16_t>("IntLinear16", kInt16),
          int_linear<int32_t>("IntLinear32", kInt32), int_linear_add(), int_linear_add_norm()};
}

}  // namespace ivit::ort
