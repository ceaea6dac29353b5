// IntMlpAdd, IntMlpAddNorm, IntTableMlpAdd, IntTableMlpAddNorm on the GPU: the hidden activations of all rows stand in
// scratch memory.
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/table_gelu.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

// ShiftGELU and the requantisation after it.
template <class Op>
class ShiftActivation {
 public:
  explicit ShiftActivation(const Call& constants)
      : table_(constants.attributes[Op::kX0], constants.attributes[Op::kN], constants.dyadic(Op::kGeluScale),
               constants.dims['H']) {}
  void apply(int8_t* hidden, int64_t rows, int64_t channels, cuda::Stream stream) const {
    cuda::gelu_rows(hidden, rows, channels, table_, stream);
  }

 private:
  cuda::GeluRows table_;
};

// TableGELU.
template <class Op>
class TableActivation {
 public:
  explicit TableActivation(const Call& constants) : table_(constants.data<int8_t>(Op::kGeluTable)) {}
  void apply(int8_t* hidden, int64_t rows, int64_t channels, cuda::Stream stream) const {
    cuda::table_gelu(hidden, rows * channels, table_, hidden, stream);
  }

 private:
  cuda::GeluTable table_;
};

template <class Op, class Activation>
class IntMlpAddCuda : public CudaKernel {
 public:
  explicit IntMlpAddCuda(const Call& constants)
      : fc1_(pack_linear(constants, Op::kFc1Linear)),
        activation_(constants),
        fc2_(pack_linear(constants, Op::kFc2Linear)),
        scales_(constants, Op::kBranchScale, Op::kResidualScale) {}
  size_t scratch_bytes(const Call& call) const override {
    return static_cast<size_t>(call.dims.rows() * fc1_.columns());
  }
  void compute(const Call& call, const CudaRun& run) const override {
    const int64_t rows = call.dims.rows();
    int8_t* const hidden = static_cast<int8_t*>(run.scratch);
    const cuda::Residual residual = scales_.with(call.data<int16_t>(Op::kResidual));
    cuda::matmul(call.data<int8_t>(Op::kX), fc1_.inner(), rows, fc1_, cuda::requantize_to(hidden), run.stream);
    activation_.apply(hidden, rows, fc1_.columns(), run.stream);
    cuda::matmul(hidden, fc2_.inner(), rows, fc2_, cuda::add_residual_to(call.output<int16_t>(), residual), run.stream);
  }

 private:
  cuda::PackedLinear fc1_;
  Activation activation_;
  cuda::PackedLinear fc2_;
  ResidualScales scales_;
};

template <class Op, class Activation>
class IntMlpAddNormCuda final : public IntMlpAddCuda<Op, Activation> {
 public:
  explicit IntMlpAddNormCuda(const Call& constants)
      : IntMlpAddCuda<Op, Activation>(constants), norm_(constants, Op::kNormAffine) {}
  void compute(const Call& call, const CudaRun& run) const override {
    IntMlpAddCuda<Op, Activation>::compute(call, run);
    cuda::int_layer_norm(call.output<int16_t>(), call.dims.rows(), call.dims['C'], norm_.get(), call.output<int8_t>(1),
                         run.stream);
  }

 private:
  DeviceAffine norm_;
};

template <class Op>
using ShiftMlp = IntMlpAddCuda<Op, ShiftActivation<Op>>;
template <class Op>
using ShiftMlpNorm = IntMlpAddNormCuda<Op, ShiftActivation<Op>>;
template <class Op>
using TableMlp = IntMlpAddCuda<Op, TableActivation<Op>>;
template <class Op>
using TableMlpNorm = IntMlpAddNormCuda<Op, TableActivation<Op>>;

}  // namespace

IVIT_CUDA_KERNEL(IntMlpAdd, ShiftMlp)
IVIT_CUDA_KERNEL(IntMlpAddNorm, ShiftMlpNorm)
IVIT_CUDA_KERNEL(IntTableMlpAdd, TableMlp)
IVIT_CUDA_KERNEL(IntTableMlpAddNorm, TableMlpNorm)

}  // namespace ivit::ort
