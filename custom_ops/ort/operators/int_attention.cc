// IntAttention, IntTableAttention: call of the CPU kernel.
#include "kernels/cpu/int_attention.h"

#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntAttentionKernel final : public Kernel {
 public:
  explicit IntAttentionKernel(const Call& constants) : softmax_(constants) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const int64_t heads = call.attributes[Op::kHeads];
    Softmax storage;
    const cpu::Attention attention{call.dims['N'],
                                   call.dims['T'],
                                   heads,
                                   call.dims['C'] / heads,
                                   call.dyadic(Op::kScoreScale),
                                   call.dyadic(Op::kContextScale),
                                   softmax_.get(call, storage)};
    cpu::int_attention(parallel, call.data<int8_t>(Op::kQkv), attention, call.output<int8_t>());
  }

 private:
  SoftmaxParameters<Op, Softmax> softmax_;
};

}  // namespace

IVIT_KERNEL(IntAttention, IntAttentionKernel)
IVIT_KERNEL(IntTableAttention, IntAttentionKernel)

}  // namespace ivit::ort
