// IntPatchEmbedNorm16, IntPixelEmbedNorm16 on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/tokens.h"
#include "ort/cuda/affine.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/patch_rows.h"

namespace ivit::ort {
namespace {

enum Attribute { kPatchSize, kBits };

// Inputs of a patch embedding, counted from its weight.
enum Constant { kWeight, kNormMultiplier = 4, kTokenMultiplier = 7 };

template <class Images>
class PatchEmbedNormCuda final : public CudaKernel {
 public:
  explicit PatchEmbedNormCuda(const Call& constants)
      : images_(constants),
        projection_(pack_linear(constants, kFirst, 'K', 'D')),
        bits_(constants.attributes[kBits]),
        norm_(constants, kFirst + kNormMultiplier, constants.dims['D']),
        scale_{constants.data<int32_t>(kFirst + kTokenMultiplier)[0],
               constants.data<int8_t>(kFirst + kTokenMultiplier + 1)[0]} {}
  size_t scratch_bytes(const Call& call) const override { return patch_row_bytes(call); }
  // The projection stands in the output and is normalised there.
  void compute(const Call& call, const CudaRun& run) const override {
    const int64_t channels = projection_.columns();
    int16_t* const tokens = call.output<int16_t>();
    const PatchRows rows = gather_rows(images_, call, run.scratch, run.stream);
    cuda::matmul(rows.data, rows.stride, rows.count, projection_, cuda::requantize_to_bits(tokens, bits_), run.stream);
    cuda::int_layer_norm16(tokens, rows.count, channels, norm_.get(), tokens, run.stream);
    if (!scale_.is_one()) cuda::scale_tokens(tokens, rows.count * channels, scale_, run.stream);
  }

 private:
  // Index of the weight, behind the image and its parameters.
  static constexpr size_t kFirst = 1 + Images::kParameters;

  Images images_;
  cuda::PackedLinear projection_;
  int64_t bits_;
  DeviceAffine norm_;
  cuda::TokenScale scale_;
};

}  // namespace

std::vector<CudaOperator> int_patch_embed_norm_cuda() {
  return {{"IntPatchEmbedNorm16", create_cuda_kernel<PatchEmbedNormCuda<QuantizedImages>>},
          {"IntPixelEmbedNorm16", create_cuda_kernel<PatchEmbedNormCuda<PixelImages>>}};
}

}  // namespace ivit::ort
