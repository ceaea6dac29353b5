// IntDeferredWindowAttention on the GPU.
#include "kernels/cuda/int_deferred_window_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/window_constants.h"
#include "ort/operators/deferred.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntDeferredWindowAttentionCuda final : public CudaKernel {
 public:
  explicit IntDeferredWindowAttentionCuda(const Call& constants)
      : constants_(constants),
        softmax_(deferred_softmax<Op>(constants)),
        windows_(constants, cuda::check_deferred_window) {}

  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_deferred_window_attention(call.data<int8_t>(Op::kQkv), call.dims['N'], constants_.get(call.dims['C']),
                                        softmax_, windows_.get(), call.output<int8_t>(), run.stream);
  }

 private:
  AttentionConstants<Op> constants_;
  cuda::DeviceDeferred softmax_;
  WindowConstants<Op> windows_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntDeferredWindowAttention, IntDeferredWindowAttentionCuda)

}  // namespace ivit::ort
