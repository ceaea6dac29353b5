// Shiftmax on the GPU.
#include "kernels/cuda/shiftmax.h"

#include "ort/cuda/families.h"

namespace ivit::ort {
namespace {

enum Attribute { kX0, kN, kFracBits };

class ShiftmaxCuda final : public CudaKernel {
 public:
  explicit ShiftmaxCuda(const Call& constants) : exponential_(constants.attributes[kX0], constants.attributes[kN]) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::shiftmax(call.data<int8_t>(0), call.dims.rows(), call.dims['T'], exponential_,
                   static_cast<int>(call.attributes[kFracBits]), run.output<int16_t>(), run.stream);
  }

 private:
  cuda::ExpTable exponential_;
};

}  // namespace

std::vector<CudaOperator> shiftmax_cuda() { return {{"Shiftmax", create_cuda_kernel<ShiftmaxCuda>}}; }

}  // namespace ivit::ort
