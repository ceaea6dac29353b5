// IntTokenMax on the GPU.
#include "kernels/cuda/int_token_max.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMaxCuda final : public CudaKernel {
 public:
  explicit IntTokenMaxCuda(const Call& constants) : scale_(constants, Op::kScale, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_token_max(call.data<int8_t>(Op::kX), call.dims['N'], call.dims['T'], call.dims['C'], scale_.get(),
                        call.output<int8_t>(), run.stream);
  }

 private:
  DeviceScale scale_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntTokenMax, IntTokenMaxCuda)

}  // namespace ivit::ort
