// IntWindowAttention, IntTableWindowAttention on the GPU.
#include "kernels/cuda/int_window_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/softmax_constants.h"
#include "ort/cuda/window_constants.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntWindowAttentionCuda final : public CudaKernel {
 public:
  explicit IntWindowAttentionCuda(const Call& constants)
      : constants_(constants),
        softmax_(constants),
        windows_(constants, cuda::check_window),
        biased_{*constants.data<int32_t>(Op::kPlacedMultiplier), *constants.data<int8_t>(Op::kPlacedShift)} {}

  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_window_attention(call.data<int8_t>(Op::kQkv), call.dims['N'], constants_.get(call.dims['C']),
                               softmax_.get(), biased_, windows_.get(), call.output<int8_t>(), run.stream);
  }

 private:
  AttentionConstants<Op> constants_;
  SoftmaxConstants<Op> softmax_;
  WindowConstants<Op> windows_;
  cuda::BiasedScale biased_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntWindowAttention, IntWindowAttentionCuda)
IVIT_CUDA_KERNEL(IntTableWindowAttention, IntWindowAttentionCuda)

}  // namespace ivit::ort
