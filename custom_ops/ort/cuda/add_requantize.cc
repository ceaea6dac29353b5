// AddRequantize on the GPU.
#include "kernels/cuda/add_requantize.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/scale.h"

namespace ivit::ort {
namespace {

template <class Op>
class AddRequantizeCuda final : public CudaKernel {
 public:
  explicit AddRequantizeCuda(const Call& constants)
      : a_scale_(constants, Op::kAScale, constants.dims['C']), b_scale_(constants, Op::kBScale, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::add_requantize(call.data<int16_t>(Op::kA), a_scale_.get(), call.data<int16_t>(Op::kB), b_scale_.get(),
                         call.dims.rows(), call.dims['C'], call.output<int16_t>(), run.stream);
  }

 private:
  DeviceScale a_scale_;
  DeviceScale b_scale_;
};

}  // namespace

IVIT_CUDA_KERNEL(AddRequantize, AddRequantizeCuda)

}  // namespace ivit::ort
