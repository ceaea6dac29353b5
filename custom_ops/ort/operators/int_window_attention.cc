// IntWindowAttention, IntTableWindowAttention: call of the CPU kernel.
#include "kernels/cpu/int_window_attention.h"

#include "ort/operators/softmax.h"
#include "ort/operators/window_grid.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntWindowAttentionKernel final : public Kernel {
 public:
  explicit IntWindowAttentionKernel(const Call& constants)
      : softmax_(constants),
        constant_(constants.is_constant(Op::kRelativePosition) && constants.is_constant(Op::kPlacedScale)) {
    if (constant_) biased_ = biased_scores(constants);
  }

  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::BiasedScores storage;
    if (!constant_) storage = biased_scores(call);
    cpu::WindowSoftmax softmax_storage;
    const int64_t heads = call.attributes[Op::kHeads];
    const cpu::WindowAttention attention{call.dims['N'],
                                         window_grid<Op>(call),
                                         heads,
                                         call.dims['C'] / heads,
                                         call.data<int8_t>(Op::kPadding),
                                         call.dyadic(Op::kScoreScale),
                                         constant_ ? biased_ : storage,
                                         call.dyadic(Op::kContextScale),
                                         softmax_.get(call, softmax_storage)};
    cpu::int_window_attention(parallel, call.data<int8_t>(Op::kQkv), attention, call.output<int8_t>());
  }

 private:
  static cpu::BiasedScores biased_scores(const Call& call) {
    return {window_grid<Op>(call), call.attributes[Op::kHeads], call.data<int16_t>(Op::kRelativePosition),
            call.dyadic(Op::kPlacedScale)};
  }

  SoftmaxParameters<Op, cpu::WindowSoftmax> softmax_;
  bool constant_;
  cpu::BiasedScores biased_;
};

}  // namespace

IVIT_KERNEL(IntWindowAttention, IntWindowAttentionKernel)
IVIT_KERNEL(IntTableWindowAttention, IntWindowAttentionKernel)

}  // namespace ivit::ort
