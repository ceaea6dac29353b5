// IntTokenMlpAdd, IntTokenMlpAddNorm on the GPU: the hidden activations of all rows and the scales of the rows stand in
// scratch memory.
#include "kernels/common/integer.h"
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/matmul.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntTokenMlpAddCuda : public CudaKernel {
 public:
  explicit IntTokenMlpAddCuda(const Call& constants)
      : fc1_(pack_linear(constants, Op::kFc1Linear)),
        tables_(constants.data<int8_t>(Op::kTokenScale), constants.data<int8_t>(Op::kGeluTables), constants.dims['S']),
        fc2_(pack_linear(constants, Op::kFc2Linear)),
        scales_(constants.data<int32_t>(Op::kFc2Bias), constants.dims['C'], constants.dyadic(Op::kBranchScale),
                constants.dims['S']),
        residual_(cuda::scalar_scale(constants.dyadic(Op::kResidualScale))) {}
  size_t scratch_bytes(const Call& call) const override {
    return hidden_bytes(call) + static_cast<size_t>(call.dims.rows()) * sizeof(int32_t);
  }
  void compute(const Call& call, const CudaRun& run) const override {
    const int64_t rows = call.dims.rows();
    int8_t* const hidden = static_cast<int8_t*>(run.scratch);
    int32_t* const chosen = reinterpret_cast<int32_t*>(hidden + hidden_bytes(call));
    const cuda::RowResidual residual{call.data<int16_t>(Op::kResidual), scales_.with(chosen), residual_};
    cuda::matmul(call.data<int8_t>(Op::kX), fc1_.inner(), rows, fc1_, cuda::requantize_to(hidden), run.stream);
    cuda::token_gelu(hidden, rows, fc1_.columns(), tables_, chosen, run.stream);
    cuda::matmul(hidden, fc2_.inner(), rows, fc2_, cuda::add_residual_to(call.output<int16_t>(), residual), run.stream);
  }

 private:
  size_t hidden_bytes(const Call& call) const {
    return static_cast<size_t>(round_up(call.dims.rows() * fc1_.columns(), 16));
  }

  cuda::PackedLinear fc1_;
  cuda::TokenTables tables_;
  // Its bias is the first of those in scales_, and not used.
  cuda::PackedLinear fc2_;
  cuda::PackedRowScales scales_;
  cuda::ScalarScale residual_;
};

template <class Op>
class IntTokenMlpAddNormCuda final : public IntTokenMlpAddCuda<Op> {
 public:
  explicit IntTokenMlpAddNormCuda(const Call& constants)
      : IntTokenMlpAddCuda<Op>(constants), norm_(constants, Op::kNormAffine) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntTokenMlpAddCuda<Op>::compute(call, run);
    cuda::int_layer_norm(call.output<int16_t>(), call.dims.rows(), call.dims['C'], norm_.get(), call.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntTokenMlpAdd, IntTokenMlpAddCuda)
IVIT_CUDA_KERNEL(IntTokenMlpAddNorm, IntTokenMlpAddNormCuda)

}  // namespace ivit::ort
