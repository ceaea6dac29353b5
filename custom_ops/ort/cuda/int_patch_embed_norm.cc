// IntPatchEmbedNorm16, IntPixelEmbedNorm16 on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/tokens.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/patch_rows.h"

namespace ivit::ort {
namespace {

template <class Op>
class PatchEmbedNormCuda final : public CudaKernel {
 public:
  explicit PatchEmbedNormCuda(const Call& constants)
      : images_(constants),
        projection_(pack_linear(constants, Op::kLinear)),
        bits_(constants.attributes[Op::kBits]),
        norm_(constants, Op::kNormAffine),
        scale_{constants.data<int32_t>(Op::kTokenMultiplier)[0], constants.data<int8_t>(Op::kTokenShift)[0]} {}
  size_t scratch_bytes(const Call& call) const override { return patch_row_bytes<Op>(call); }
  // The projection stands in the output and is normalised there.
  void compute(const Call& call, const CudaRun& run) const override {
    const int64_t channels = projection_.columns();
    int16_t* const tokens = call.output<int16_t>();
    const PatchRows rows = gather_rows<Op>(images_, call, run.scratch, run.stream);
    cuda::matmul(rows.data, rows.stride, rows.count, projection_, cuda::requantize_to_bits(tokens, bits_), run.stream);
    cuda::int_layer_norm16(tokens, rows.count, channels, norm_.get(), tokens, run.stream);
    if (!scale_.is_one()) cuda::scale_tokens(tokens, rows.count * channels, scale_, run.stream);
  }

 private:
  DeviceImages<Op> images_;
  cuda::PackedLinear projection_;
  int64_t bits_;
  DeviceAffine norm_;
  cuda::TokenScale scale_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntPatchEmbedNorm16, PatchEmbedNormCuda)
IVIT_CUDA_KERNEL(IntPixelEmbedNorm16, PatchEmbedNormCuda)

}  // namespace ivit::ort
