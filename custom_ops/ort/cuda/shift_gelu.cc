// ShiftGELU on the GPU.
#include "kernels/cuda/gelu_rows.h"
#include "ort/cuda/families.h"

namespace ivit::ort {
namespace {

enum Attribute { kX0, kN };

class ShiftGeluCuda final : public CudaKernel {
 public:
  explicit ShiftGeluCuda(const Call& constants) : values_(constants.attributes[kX0], constants.attributes[kN]) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::shift_gelu(call.data<int8_t>(0), call.dims.rows(), call.dims['C'], values_, call.output<int16_t>(),
                     run.stream);
  }

 private:
  cuda::GeluValues values_;
};

}  // namespace

std::vector<CudaOperator> shift_gelu_cuda() { return {{"ShiftGELU", create_cuda_kernel<ShiftGeluCuda>}}; }

}  // namespace ivit::ort
