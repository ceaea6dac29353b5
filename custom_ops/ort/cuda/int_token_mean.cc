// IntTokenMean, IntTokenMean16 on the GPU.
#include "kernels/cuda/int_token_mean.h"

#include "ort/cuda/families.h"
#include "ort/cuda/scale.h"
#include "ort/operators/mean_tokens.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier, kShift };

template <class T>
class IntTokenMeanCuda final : public CudaKernel {
 public:
  explicit IntTokenMeanCuda(const Call& constants) : scale_(constants, kMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_token_mean(call.data<T>(kX), call.dims['N'], mean_tokens(call), call.dims['C'], scale_.get(),
                         call.output<T>(), run.stream);
  }

 private:
  DeviceScale scale_;
};

}  // namespace

std::vector<CudaOperator> int_token_mean_cuda() {
  return {{"IntTokenMean", create_cuda_kernel<IntTokenMeanCuda<int8_t>>},
          {"IntTokenMean16", create_cuda_kernel<IntTokenMeanCuda<int16_t>>}};
}

}  // namespace ivit::ort
