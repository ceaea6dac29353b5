// IntMlpAdd, IntMlpAddNorm, IntTableMlpAdd, IntTableMlpAddNorm: call of the CPU kernel.
#include "kernels/cpu/int_mlp.h"

#include "kernels/cpu/gelu_table.h"
#include "kernels/cpu/table_gelu.h"
#include "ort/operators/linear.h"
#include "ort/operators/residual.h"

namespace ivit::ort {
namespace {

// ShiftGELU and the requantisation after it.
template <class Op>
class ShiftActivation {
 public:
  explicit ShiftActivation(const Call& constants)
      : exponential_(constants.attributes[Op::kX0], constants.attributes[Op::kN]) {
    const bool scalar = constants.inputs[Op::kGeluMultiplier].scalar && constants.inputs[Op::kGeluShift].scalar;
    if (constants.is_constant(Op::kGeluScale) && scalar) {
      table_ = std::make_unique<cpu::GeluTable>(exponential_, constants.dyadic(Op::kGeluScale));
    }
  }

  cpu::MlpActivation get(const Call& call, cpu::ByBits&) const {
    return {nullptr, table_ ? table_->tables() : cpu::RowTables{}, &exponential_, call.dyadic(Op::kGeluScale)};
  }

 private:
  ShiftExpTable exponential_;
  std::unique_ptr<cpu::GeluTable> table_;
};

// TableGELU.
template <class Op>
class TableActivation {
 public:
  explicit TableActivation(const Call& constants) : constant_(constants.is_constant(Op::kGeluTable)) {
    if (constant_) table_ = cpu::ByBits(constants.data<int8_t>(Op::kGeluTable));
  }

  cpu::MlpActivation get(const Call& call, cpu::ByBits& storage) const {
    if (constant_) return {table_.get()};
    storage = cpu::ByBits(call.data<int8_t>(Op::kGeluTable));
    return {storage.get()};
  }

 private:
  bool constant_;
  cpu::ByBits table_;
};

template <class Op, class Activation>
class IntMlpAddKernel final : public Kernel {
 public:
  explicit IntMlpAddKernel(const Call& constants)
      : fc1_(constants, Op::kFc1Linear), activation_(constants), fc2_(constants, Op::kFc2Linear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear fc1_storage;
    cpu::PackedLinear fc2_storage;
    cpu::ByBits table_storage;
    const cpu::Mlp mlp{fc1_.packed(call, fc1_storage), activation_.get(call, table_storage),
                       fc2_.packed(call, fc2_storage)};
    cpu::int_mlp_add(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), mlp, bind_residual<Op>(call),
                     call.output<int16_t>(), bind_norm<Op>(call));
  }

 private:
  LinearParameters fc1_;
  Activation activation_;
  LinearParameters fc2_;
};

template <class Op>
using ShiftMlp = IntMlpAddKernel<Op, ShiftActivation<Op>>;
template <class Op>
using TableMlp = IntMlpAddKernel<Op, TableActivation<Op>>;

}  // namespace

IVIT_KERNEL(IntMlpAdd, ShiftMlp)
IVIT_KERNEL(IntMlpAddNorm, ShiftMlp)
IVIT_KERNEL(IntTableMlpAdd, TableMlp)
IVIT_KERNEL(IntTableMlpAddNorm, TableMlp)

}  // namespace ivit::ort
