// IntDeferredAttention, IntDeferredWindowAttention: calls of the CPU kernels.
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/int_window_attention.h"
#include "ort/operators/deferred.h"
#include "ort/operators/window_grid.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntDeferredAttentionKernel final : public Kernel {
 public:
  explicit IntDeferredAttentionKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const int64_t heads = call.attributes[Op::kHeads];
    const cpu::DeferredAttention attention{call.dims['N'],
                                           call.dims['T'],
                                           heads,
                                           call.dims['C'] / heads,
                                           call.dyadic(Op::kContextScale),
                                           deferred_softmax<Op>(call)};
    cpu::int_attention(parallel, call.data<int8_t>(Op::kQkv), attention, call.output<int8_t>());
  }
};

template <class Op>
class IntDeferredWindowAttentionKernel final : public Kernel {
 public:
  explicit IntDeferredWindowAttentionKernel(const Call& constants)
      : constant_(constants.is_constant(Op::kRelativePosition)) {
    if (constant_) bias_ = bias(constants);
  }

  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::RelativePositionBias storage;
    if (!constant_) storage = bias(call);
    const int64_t heads = call.attributes[Op::kHeads];
    const cpu::DeferredWindowAttention attention{call.dims['N'],
                                                 window_grid<Op>(call),
                                                 heads,
                                                 call.dims['C'] / heads,
                                                 call.data<int8_t>(Op::kPadding),
                                                 constant_ ? bias_ : storage,
                                                 call.dyadic(Op::kContextScale),
                                                 deferred_softmax<Op>(call)};
    cpu::int_window_attention(parallel, call.data<int8_t>(Op::kQkv), attention, call.output<int8_t>());
  }

 private:
  static cpu::RelativePositionBias bias(const Call& call) {
    return {window_grid<Op>(call), call.attributes[Op::kHeads], call.data<int16_t>(Op::kRelativePosition)};
  }

  bool constant_;
  cpu::RelativePositionBias bias_;
};

}  // namespace

IVIT_KERNEL(IntDeferredAttention, IntDeferredAttentionKernel)
IVIT_KERNEL(IntDeferredWindowAttention, IntDeferredWindowAttentionKernel)

}  // namespace ivit::ort
