// IntMlpAdd, IntMlpAddNorm, IntTableMlpAdd, IntTableMlpAddNorm on the GPU: the hidden activations of all rows stand in
// scratch memory.
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/table_gelu.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

enum Input { kX, kResidual, kFc1Weight, kGelu = kFc1Weight + 4 };
enum Attribute { kX0, kN };

// ShiftGELU and the requantisation after it.
class ShiftActivation {
 public:
  static constexpr size_t kInputs = 2;

  explicit ShiftActivation(const Call& constants)
      : table_(constants.attributes[kX0], constants.attributes[kN], constants.dyadic(kGelu), constants.dims['H']) {}
  void apply(int8_t* hidden, int64_t rows, int64_t channels, cuda::Stream stream) const {
    cuda::gelu_rows(hidden, rows, channels, table_, stream);
  }

 private:
  cuda::GeluRows table_;
};

// TableGELU.
class TableActivation {
 public:
  static constexpr size_t kInputs = 1;

  explicit TableActivation(const Call& constants) : table_(constants.data<int8_t>(kGelu)) {}
  void apply(int8_t* hidden, int64_t rows, int64_t channels, cuda::Stream stream) const {
    cuda::table_gelu(hidden, rows * channels, table_, hidden, stream);
  }

 private:
  cuda::GeluTable table_;
};

template <class Activation>
class IntMlpAddCuda : public CudaKernel {
 public:
  explicit IntMlpAddCuda(const Call& constants)
      : fc1_(pack_linear(constants, kFc1Weight, 'C', 'H')),
        activation_(constants),
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
    activation_.apply(hidden, rows, fc1_.columns(), run.stream);
    cuda::matmul(hidden, fc2_.inner(), rows, fc2_, cuda::add_residual_to(call.output<int16_t>(), residual), run.stream);
  }

 protected:
  static constexpr size_t kFc2Weight = kGelu + Activation::kInputs;
  static constexpr size_t kBranchMultiplier = kFc2Weight + 4;
  static constexpr size_t kNormMultiplier = kBranchMultiplier + 4;

 private:
  cuda::PackedLinear fc1_;
  Activation activation_;
  cuda::PackedLinear fc2_;
  ResidualScales scales_;
};

template <class Activation>
class IntMlpAddNormCuda final : public IntMlpAddCuda<Activation> {
 public:
  explicit IntMlpAddNormCuda(const Call& constants)
      : IntMlpAddCuda<Activation>(constants), norm_(constants, this->kNormMultiplier, constants.dims['C']) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntMlpAddCuda<Activation>::compute(call, run);
    cuda::int_layer_norm(call.output<int16_t>(), call.dims.rows(), call.dims['C'], norm_.get(), call.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

}  // namespace

std::vector<CudaOperator> int_mlp_cuda() {
  return {{"IntMlpAdd", create_cuda_kernel<IntMlpAddCuda<ShiftActivation>>},
          {"IntMlpAddNorm", create_cuda_kernel<IntMlpAddNormCuda<ShiftActivation>>},
          {"IntTableMlpAdd", create_cuda_kernel<IntMlpAddCuda<TableActivation>>},
          {"IntTableMlpAddNorm", create_cuda_kernel<IntMlpAddNormCuda<TableActivation>>}};
}

}  // namespace ivit::ort
