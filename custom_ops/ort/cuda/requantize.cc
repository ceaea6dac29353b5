// Requantize, Requantize16, Requantize32 on the GPU.
#include "kernels/cuda/requantize.h"

#include "ort/cuda/families.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier, kShift };

template <class Out>
class RequantizeCuda final : public CudaKernel {
 public:
  explicit RequantizeCuda(const Call& constants) : scale_(constants, kMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::requantize(call.data<int32_t>(kX), call.dims.rows(), call.dims['C'], scale_.get(), call.output<Out>(),
                     run.stream);
  }

 private:
  DeviceScale scale_;
};

}  // namespace

std::vector<CudaOperator> requantize_cuda() {
  return {{"Requantize", create_cuda_kernel<RequantizeCuda<int8_t>>},
          {"Requantize16", create_cuda_kernel<RequantizeCuda<int16_t>>},
          {"Requantize32", create_cuda_kernel<RequantizeCuda<int32_t>>}};
}

}  // namespace ivit::ort
