// ShiftGELU on the GPU.
#include "kernels/cuda/gelu_rows.h"
#include "ort/cuda/cuda_kernel.h"

namespace ivit::ort {
namespace {

template <class Op>
class ShiftGeluCuda final : public CudaKernel {
 public:
  explicit ShiftGeluCuda(const Call& constants)
      : values_(constants.attributes[Op::kX0], constants.attributes[Op::kN]) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::shift_gelu(call.data<int8_t>(Op::kX), call.dims.rows(), call.dims['C'], values_, call.output<int16_t>(),
                     run.stream);
  }

 private:
  cuda::GeluValues values_;
};

}  // namespace

IVIT_CUDA_KERNEL(ShiftGELU, ShiftGeluCuda)

}  // namespace ivit::ort
