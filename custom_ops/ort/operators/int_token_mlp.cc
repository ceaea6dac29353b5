// IntTokenMlpAdd, IntTokenMlpAddNorm: call of the CPU kernel.
#include "kernels/cpu/int_mlp.h"
#include "kernels/cpu/token_scales.h"
#include "ort/operators/linear.h"
#include "ort/operators/residual.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMlpAddKernel final : public Kernel {
 public:
  explicit IntTokenMlpAddKernel(const Call& constants)
      : fc1_(constants, Op::kFc1Linear),
        constant_(constants.is_constant(Op::kTokenScale) && constants.is_constant(Op::kGeluTables) &&
                  constants.is_constant(Op::kFc2Weight) && constants.is_constant(Op::kFc2Bias) &&
                  constants.is_constant(Op::kFc2Linear.scale) && constants.is_constant(Op::kBranchScale)) {
    if (constant_) tokens_ = pack(constants);
  }

  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear fc1_storage;
    cpu::TokenScales storage;
    if (!constant_) storage = pack(call);
    const cpu::TokenScales& tokens = constant_ ? tokens_ : storage;
    const cpu::RowScales scales = tokens.scales();
    const cpu::Mlp mlp{fc1_.packed(call, fc1_storage), {nullptr, tokens.tables()}, tokens.linear(), &scales};
    cpu::int_mlp_add(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), mlp, bind_residual<Op>(call),
                     call.output<int16_t>(), bind_norm<Op>(call));
  }

 private:
  static cpu::TokenScales pack(const Call& call) {
    return cpu::TokenScales(
        cpu::active_variant().matmul.layout,
        {call.input_dim(Op::kGeluTables, 0), call.data<int8_t>(Op::kTokenScale), call.data<int8_t>(Op::kGeluTables),
         call.data<int8_t>(Op::kFc2Weight), call.input_dim(Op::kFc2Weight, 0), call.input_dim(Op::kFc2Weight, 1),
         call.data<int32_t>(Op::kFc2Bias), call.dyadic(Op::kFc2Linear.scale), call.dyadic(Op::kBranchScale)});
  }

  LinearParameters fc1_;
  bool constant_;
  cpu::TokenScales tokens_;
};

}  // namespace

IVIT_KERNEL(IntTokenMlpAdd, IntTokenMlpAddKernel)
IVIT_KERNEL(IntTokenMlpAddNorm, IntTokenMlpAddKernel)

}  // namespace ivit::ort
