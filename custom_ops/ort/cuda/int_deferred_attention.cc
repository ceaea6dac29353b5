// IntDeferredAttention on the GPU.
#include "kernels/cuda/int_deferred_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/operators/deferred.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntDeferredAttentionCuda final : public CudaKernel {
 public:
  explicit IntDeferredAttentionCuda(const Call& constants)
      : constants_(constants), softmax_(deferred_softmax<Op>(constants)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_deferred_attention(call.data<int8_t>(Op::kQkv), call.dims['N'], call.dims['T'],
                                 constants_.get(call.dims['C']), softmax_, call.output<int8_t>(), run.stream);
  }

 private:
  AttentionConstants<Op> constants_;
  cuda::DeviceDeferred softmax_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntDeferredAttention, IntDeferredAttentionCuda)

}  // namespace ivit::ort
