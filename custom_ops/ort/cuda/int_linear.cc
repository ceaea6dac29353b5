// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm on the GPU.
#include "kernels/cuda/int_layer_norm.h"
#include "kernels/cuda/matmul.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

enum LinearInput { kX, kWeight };

template <class Out>
class IntLinearCuda final : public CudaKernel {
 public:
  explicit IntLinearCuda(const Call& constants) : linear_(pack_linear(constants, kWeight, 'K', 'N')) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::matmul(call.data<int8_t>(kX), linear_.inner(), call.dims.rows(), linear_,
                 cuda::requantize_to(call.output<Out>()), run.stream);
  }

 private:
  cuda::PackedLinear linear_;
};

enum LinearAddInput {
  kAddX,
  kAddResidual,
  kAddWeight,
  kBranchMultiplier = kAddWeight + 4,
  kNormMultiplier = kBranchMultiplier + 4
};

class IntLinearAddCuda : public CudaKernel {
 public:
  explicit IntLinearAddCuda(const Call& constants)
      : linear_(pack_linear(constants, kAddWeight, 'K', 'N')), scales_(constants, kBranchMultiplier) {}
  void compute(const Call& call, const CudaRun& run) const override {
    const cuda::Residual residual = scales_.with(call.data<int16_t>(kAddResidual));
    cuda::matmul(call.data<int8_t>(kAddX), linear_.inner(), call.dims.rows(), linear_,
                 cuda::add_residual_to(call.output<int16_t>(), residual), run.stream);
  }

 private:
  cuda::PackedLinear linear_;
  ResidualScales scales_;
};

class IntLinearAddNormCuda final : public IntLinearAddCuda {
 public:
  explicit IntLinearAddNormCuda(const Call& constants)
      : IntLinearAddCuda(constants), norm_(constants, kNormMultiplier, constants.dims['N']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntLinearAddCuda::compute(call, run);
    cuda::int_layer_norm(call.output<int16_t>(), call.dims.rows(), call.dims['N'], norm_.get(), call.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

}  // namespace

std::vector<CudaOperator> int_linear_cuda() {
  return {{"IntLinear", create_cuda_kernel<IntLinearCuda<int8_t>>},
          {"IntLinear16", create_cuda_kernel<IntLinearCuda<int16_t>>},
          {"IntLinear32", create_cuda_kernel<IntLinearCuda<int32_t>>},
          {"IntLinearAdd", create_cuda_kernel<IntLinearAddCuda>},
          {"IntLinearAddNorm", create_cuda_kernel<IntLinearAddNormCuda>}};
}

}  // namespace ivit::ort
