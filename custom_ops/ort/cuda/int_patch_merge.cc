// IntPatchMerge on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/patches.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"
#include "ort/operators/token_grid.h"

namespace ivit::ort {
namespace {

enum Input { kX, kNormMultiplier, kNormOffset, kNormShift, kWeight };
enum Attribute { kHeight, kWidth, kBits };

class IntPatchMergeCuda final : public CudaKernel {
 public:
  explicit IntPatchMergeCuda(const Call& constants)
      : height_(constants.attributes[kHeight]),
        width_(constants.attributes[kWidth]),
        bits_(constants.attributes[kBits]),
        norm_(constants, kNormMultiplier, constants.dims['K']),
        linear_(pack_linear(constants, kWeight, 'K', 'D')) {}
  size_t scratch_bytes(const Call& call) const override { return static_cast<size_t>(rows(call) * stride()); }
  void compute(const Call& call, const CudaRun& run) const override {
    check_merge(call, height_, width_);
    int8_t* const merged = static_cast<int8_t*>(run.scratch);
    cuda::merge_rows(call.data<int16_t>(kX), call.dims['N'], height_, width_, call.dims['C'], norm_.get(), merged,
                     stride(), run.stream);
    cuda::matmul(merged, stride(), rows(call), linear_, cuda::requantize_to_bits(call.output<int16_t>(), bits_),
                 run.stream);
  }

 private:
  int64_t rows(const Call& call) const { return call.dims['N'] * call.dims['S']; }
  int64_t stride() const { return gathered_stride(linear_.inner()); }

  int64_t height_;
  int64_t width_;
  int64_t bits_;
  DeviceAffine norm_;
  cuda::PackedLinear linear_;
};

}  // namespace

std::vector<CudaOperator> int_patch_merge_cuda() { return {{"IntPatchMerge", create_cuda_kernel<IntPatchMergeCuda>}}; }

}  // namespace ivit::ort
