// IntTokenMean, IntTokenMean16 on the GPU.
#include "kernels/cuda/int_token_mean.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMeanCuda final : public CudaKernel {
 public:
  explicit IntTokenMeanCuda(const Call& constants) : scale_(constants, Op::kScale, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    using T = typename Op::Output;
    cuda::int_token_mean(call.data<T>(Op::kX), call.dims['N'], call.dims['T'], call.dims['C'], scale_.get(),
                         call.output<T>(), run.stream);
  }

 private:
  DeviceScale scale_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntTokenMean, IntTokenMeanCuda)
IVIT_CUDA_KERNEL(IntTokenMean16, IntTokenMeanCuda)

}  // namespace ivit::ort
