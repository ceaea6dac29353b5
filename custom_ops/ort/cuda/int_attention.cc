// IntAttention, IntTableAttention on the GPU.
#include "kernels/cuda/int_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/softmax_constants.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntAttentionCuda final : public CudaKernel {
 public:
  explicit IntAttentionCuda(const Call& constants) : constants_(constants), softmax_(constants) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_attention(call.data<int8_t>(Op::kQkv), call.dims['N'], call.dims['T'], constants_.get(call.dims['C']),
                        softmax_.get(), call.output<int8_t>(), run.stream);
  }

 private:
  AttentionConstants<Op> constants_;
  SoftmaxConstants<Op> softmax_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntAttention, IntAttentionCuda)
IVIT_CUDA_KERNEL(IntTableAttention, IntAttentionCuda)

}  // namespace ivit::ort
