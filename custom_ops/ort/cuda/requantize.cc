// Requantize, Requantize16, Requantize32 on the GPU.
#include "kernels/cuda/requantize.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

template <class Op>
class RequantizeCuda final : public CudaKernel {
 public:
  explicit RequantizeCuda(const Call& constants) : scale_(constants, Op::kScale, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::requantize(call.data<int32_t>(Op::kX), call.dims.rows(), call.dims['C'], scale_.get(),
                     call.output<typename Op::Output>(), run.stream);
  }

 private:
  DeviceScale scale_;
};

}  // namespace

IVIT_CUDA_KERNEL(Requantize, RequantizeCuda)
IVIT_CUDA_KERNEL(Requantize16, RequantizeCuda)
IVIT_CUDA_KERNEL(Requantize32, RequantizeCuda)

}  // namespace ivit::ort
