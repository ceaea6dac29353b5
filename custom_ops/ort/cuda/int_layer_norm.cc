// IntLayerNorm, IntLayerNorm16 on the GPU.
#include "kernels/cuda/int_layer_norm.h"

#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"

namespace ivit::ort {
namespace {

enum Input { kX, kMultiplier };

// `Normalize` is the kernel of one output type.
template <class Out, auto Normalize>
class IntLayerNormCuda final : public CudaKernel {
 public:
  explicit IntLayerNormCuda(const Call& constants) : affine_(constants, kMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    Normalize(call.data<int16_t>(kX), call.dims.rows(), call.dims['C'], affine_.get(), call.output<Out>(), run.stream);
  }

 private:
  DeviceAffine affine_;
};

}  // namespace

std::vector<CudaOperator> int_layer_norm_cuda() {
  return {{"IntLayerNorm", create_cuda_kernel<IntLayerNormCuda<int8_t, cuda::int_layer_norm>>},
          {"IntLayerNorm16", create_cuda_kernel<IntLayerNormCuda<int16_t, cuda::int_layer_norm16>>}};
}

}  // namespace ivit::ort
