// IntPatchMerge on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/patches.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntPatchMergeCuda final : public CudaKernel {
 public:
  explicit IntPatchMergeCuda(const Call& constants)
      : height_(constants.attributes[Op::kHeight]),
        width_(constants.attributes[Op::kWidth]),
        bits_(constants.attributes[Op::kBits]),
        norm_(constants, Op::kNormAffine),
        linear_(pack_linear(constants, Op::kLinear)) {}
  size_t scratch_bytes(const Call& call) const override { return static_cast<size_t>(rows(call) * stride()); }
  void compute(const Call& call, const CudaRun& run) const override {
    int8_t* const merged = static_cast<int8_t*>(run.scratch);
    cuda::merge_rows(call.data<int16_t>(Op::kX), call.dims['N'], height_, width_, call.dims['C'], norm_.get(), merged,
                     stride(), run.stream);
    cuda::matmul(merged, stride(), rows(call), linear_, cuda::requantize_to_bits(call.output<int16_t>(), bits_),
                 run.stream);
  }

 private:
  int64_t rows(const Call& call) const { return call.dims['N'] * call.output_dim(0, 1); }
  int64_t stride() const { return gathered_stride(linear_.inner()); }

  int64_t height_;
  int64_t width_;
  int64_t bits_;
  DeviceAffine norm_;
  cuda::PackedLinear linear_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntPatchMerge, IntPatchMergeCuda)

}  // namespace ivit::ort
