// Shiftmax, TableSoftmax on the GPU.
#include "kernels/cuda/softmax.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

template <class Op>
class SoftmaxCuda final : public CudaKernel {
 public:
  explicit SoftmaxCuda(const Call& constants) : softmax_(bind_softmax<Op>(constants)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::softmax_rows(call.data<int8_t>(Op::kX), call.dims.rows(), call.dims['T'], softmax_, call.output<int16_t>(),
                       run.stream);
  }

 private:
  cuda::DeviceSoftmax softmax_;
};

}  // namespace

IVIT_CUDA_KERNEL(Shiftmax, SoftmaxCuda)
IVIT_CUDA_KERNEL(TableSoftmax, SoftmaxCuda)

}  // namespace ivit::ort
