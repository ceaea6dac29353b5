// AddRequantize on the GPU.
#include "kernels/cuda/add_requantize.h"

#include "ort/cuda/families.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

enum Input { kA, kAMultiplier, kAShift, kB, kBMultiplier, kBShift };

class AddRequantizeCuda final : public CudaKernel {
 public:
  explicit AddRequantizeCuda(const Call& constants)
      : a_scale_(constants, kAMultiplier, constants.dims['C']),
        b_scale_(constants, kBMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::add_requantize(call.data<int16_t>(kA), a_scale_.get(), call.data<int16_t>(kB), b_scale_.get(),
                         call.dims.rows(), call.dims['C'], call.output<int16_t>(), run.stream);
  }

 private:
  DeviceScale a_scale_;
  DeviceScale b_scale_;
};

}  // namespace

std::vector<CudaOperator> add_requantize_cuda() { return {{"AddRequantize", create_cuda_kernel<AddRequantizeCuda>}}; }

}  // namespace ivit::ort
