// Shiftmax, TableSoftmax on the GPU.
#include "kernels/cuda/softmax.h"

#include "ort/cuda/families.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

class SoftmaxCuda final : public CudaKernel {
 public:
  explicit SoftmaxCuda(const Call& constants) : softmax_(bind_softmax(constants)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::softmax_rows(call.data<int8_t>(0), call.dims.rows(), call.dims['T'], softmax_, call.output<int16_t>(),
                       run.stream);
  }

 private:
  cuda::DeviceSoftmax softmax_;
};

}  // namespace

std::vector<CudaOperator> softmax_cuda() {
  return {{"Shiftmax", create_cuda_kernel<SoftmaxCuda>}, {"TableSoftmax", create_cuda_kernel<SoftmaxCuda>}};
}

}  // namespace ivit::ort
