// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm on the GPU.
#include "kernels/cuda/int_layer_norm.h"
#include "kernels/cuda/matmul.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntLinearCuda final : public CudaKernel {
 public:
  explicit IntLinearCuda(const Call& constants) : linear_(pack_linear(constants, Op::kLinear)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::matmul(call.data<int8_t>(Op::kX), linear_.inner(), call.dims.rows(), linear_,
                 cuda::requantize_to(call.output<typename Op::Output>()), run.stream);
  }

 private:
  cuda::PackedLinear linear_;
};

template <class Op>
class IntLinearAddCuda : public CudaKernel {
 public:
  explicit IntLinearAddCuda(const Call& constants)
      : linear_(pack_linear(constants, Op::kLinear)), scales_(constants, Op::kBranchScale, Op::kResidualScale) {}
  void compute(const Call& call, const CudaRun& run) const override {
    const cuda::Residual residual = scales_.with(call.data<int16_t>(Op::kResidual));
    cuda::matmul(call.data<int8_t>(Op::kX), linear_.inner(), call.dims.rows(), linear_,
                 cuda::add_residual_to(call.output<int16_t>(), residual), run.stream);
  }

 private:
  cuda::PackedLinear linear_;
  ResidualScales scales_;
};

template <class Op>
class IntLinearAddNormCuda final : public IntLinearAddCuda<Op> {
 public:
  explicit IntLinearAddNormCuda(const Call& constants)
      : IntLinearAddCuda<Op>(constants), norm_(constants, Op::kNormAffine) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntLinearAddCuda<Op>::compute(call, run);
    cuda::int_layer_norm(call.output<int16_t>(), call.dims.rows(), call.dims['C'], norm_.get(), call.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntLinear, IntLinearCuda)
IVIT_CUDA_KERNEL(IntLinear16, IntLinearCuda)
IVIT_CUDA_KERNEL(IntLinear32, IntLinearCuda)
IVIT_CUDA_KERNEL(IntLinearAdd, IntLinearAddCuda)
IVIT_CUDA_KERNEL(IntLinearAddNorm, IntLinearAddNormCuda)

}  // namespace ivit::ort
