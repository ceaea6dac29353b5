// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm: calls of the CPU kernels.
#include "kernels/cpu/int_linear.h"

#include "ort/operators/linear.h"
#include "ort/operators/residual.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntLinearKernel final : public Kernel {
 public:
  explicit IntLinearKernel(const Call& constants) : linear_(constants, Op::kLinear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    cpu::matmul(parallel, call.data<int8_t>(Op::kX), call.dims.rows(), linear,
                cpu::requantize_to(call.output<typename Op::Output>(), linear));
  }

 private:
  LinearParameters linear_;
};

template <class Op>
class IntLinearAddKernel final : public Kernel {
 public:
  explicit IntLinearAddKernel(const Call& constants) : linear_(constants, Op::kLinear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PackedLinear& linear = linear_.packed(call, storage);
    const int8_t* const x = call.data<int8_t>(Op::kX);
    int16_t* const y = call.output<int16_t>();
    if constexpr (kHasNorm<Op>) {
      cpu::int_linear_add_norm(parallel, x, call.dims.rows(), linear, bind_residual<Op>(call), y, bind_norm<Op>(call));
    } else {
      cpu::matmul(parallel, x, call.dims.rows(), linear, cpu::add_residual_to(y, linear, bind_residual<Op>(call)));
    }
  }

 private:
  LinearParameters linear_;
};

}  // namespace

IVIT_KERNEL(IntLinear, IntLinearKernel)
IVIT_KERNEL(IntLinear16, IntLinearKernel)
IVIT_KERNEL(IntLinear32, IntLinearKernel)
IVIT_KERNEL(IntLinearAdd, IntLinearAddKernel)
IVIT_KERNEL(IntLinearAddNorm, IntLinearAddKernel)

}  // namespace ivit::ort
