// IntMlpAdd, IntMlpAddNorm on the GPU: the hidden activations of all rows stand in scratch memory.
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/matmul.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

enum Input {
  kX,
  kResidual,
  kFc1Weight,
  kGeluMultiplier = kFc1Weight + 4,
  kGeluShift,
  kFc2Weight,
  kBranchMultiplier = kFc2Weight + 4,
  kNormMultiplier = kBranchMultiplier + 4
};
enum Attribute { kX0, kN };

class IntMlpAddCuda : public CudaKernel {
 public:
  explicit IntMlpAddCuda(const Call& constants)
      : fc1_(pack_linear(constants, kFc1Weight, 'C', 'H')),
        gelu_(constants.attributes[kX0], constants.attributes[kN], constants.dyadic(kGeluMultiplier),
              constants.dims['H']),
        fc2_(pack_linear(constants, kFc2Weight, 'H', 'C')),
        scales_(constants, kBranchMultiplier) {}
  size_t scratch_bytes(const Call& call) const override {
    return static_cast<size_t>(call.dims.rows() * fc1_.columns());
  }
  void compute(const Call& call, const CudaRun& run) const override {
    const int64_t rows = call.dims.rows();
    int8_t* const hidden = static_cast<int8_t*>(run.scratch);
    const cuda::Residual residual = scales_.with(call.data<int16_t>(kResidual));
    cuda::matmul(call.data<int8_t>(kX), fc1_.inner(), rows, fc1_, cuda::requantize_to(hidden), run.stream);
    cuda::gelu_rows(hidden, rows, fc1_.columns(), gelu_, run.stream);
    cuda::matmul(hidden, fc2_.inner(), rows, fc2_, cuda::add_residual_to(run.output<int16_t>(), residual), run.stream);
  }

 private:
  cuda::PackedLinear fc1_;
  cuda::GeluRows gelu_;
  cuda::PackedLinear fc2_;
  ResidualScales scales_;
};

class IntMlpAddNormCuda final : public IntMlpAddCuda {
 public:
  explicit IntMlpAddNormCuda(const Call& constants)
      : IntMlpAddCuda(constants), norm_(constants, kNormMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntMlpAddCuda::compute(call, run);
    cuda::int_layer_norm(run.output<int16_t>(), call.dims.rows(), call.dims['C'], norm_.get(), run.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

}  // namespace

std::vector<CudaOperator> int_mlp_cuda() {
  return {{"IntMlpAdd", create_cuda_kernel<IntMlpAddCuda>}, {"IntMlpAddNorm", create_cuda_kernel<IntMlpAddNormCuda>}};
}

}  // namespace ivit::ort
