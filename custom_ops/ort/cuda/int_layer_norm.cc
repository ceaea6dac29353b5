// IntLayerNorm, IntLayerNorm16 on the GPU.
#include "kernels/cuda/int_layer_norm.h"

#include <type_traits>

#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntLayerNormCuda final : public CudaKernel {
 public:
  explicit IntLayerNormCuda(const Call& constants) : affine_(constants, Op::kAffine) {}
  void compute(const Call& call, const CudaRun& run) const override {
    const int16_t* const x = call.data<int16_t>(Op::kX);
    auto* const y = call.output<typename Op::Output>();
    if constexpr (std::is_same_v<typename Op::Output, int8_t>) {
      cuda::int_layer_norm(x, call.dims.rows(), call.dims['C'], affine_.get(), y, run.stream);
    } else {
      cuda::int_layer_norm16(x, call.dims.rows(), call.dims['C'], affine_.get(), y, run.stream);
    }
  }

 private:
  DeviceAffine affine_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntLayerNorm, IntLayerNormCuda)
IVIT_CUDA_KERNEL(IntLayerNorm16, IntLayerNormCuda)

}  // namespace ivit::ort
