// IntPatchEmbed, IntPixelEmbed on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/tokens.h"
#include "ort/cuda/families.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/patch_rows.h"

namespace ivit::ort {
namespace {

// Inputs of a patch embedding, counted from its weight.
enum Constant { kWeight, kTokenMultiplier = 4, kTokenShift, kPosition, kPrefixTokens };

template <class Images>
class PatchEmbedCuda final : public CudaKernel {
 public:
  explicit PatchEmbedCuda(const Call& constants)
      : images_(constants),
        projection_(pack_linear(constants, kFirst, 'K', 'D')),
        scale_(cuda::scalar_scale(constants.dyadic(kFirst + kTokenMultiplier))),
        position_(table<int32_t>(constants, kPosition, 'P')),
        prefix_(table<int16_t>(constants, kPrefixTokens, 'J')) {}
  size_t scratch_bytes(const Call& call) const override { return patch_row_bytes(call); }
  void compute(const Call& call, const CudaRun& run) const override {
    const Dims& dims = call.dims;
    int16_t* const tokens = call.output<int16_t>();
    cuda::place_prefix(prefix_.get(), dims['J'], dims['N'], dims['T'], dims['D'], tokens, run.stream);
    const PatchRows rows = gather_rows(images_, call, run.scratch, run.stream);
    cuda::matmul(rows.data, rows.stride, rows.count, projection_,
                 cuda::place_to(tokens, scale_, position_.get(), rows.per_image, dims['J']), run.stream);
  }

 private:
  // Index of the weight, behind the image and its parameters.
  static constexpr size_t kFirst = 1 + Images::kParameters;

  template <class T>
  static cuda::DeviceArray<T> table(const Call& constants, Constant input, char rows) {
    const T* data = constants.data<T>(kFirst + input);
    return cuda::DeviceArray<T>(std::vector<T>(data, data + constants.dims[rows] * constants.dims['D']));
  }

  Images images_;
  cuda::PackedLinear projection_;
  cuda::ScalarScale scale_;
  cuda::DeviceArray<int32_t> position_;
  cuda::DeviceArray<int16_t> prefix_;
};

}  // namespace

std::vector<CudaOperator> int_patch_embed_cuda() {
  return {{"IntPatchEmbed", create_cuda_kernel<PatchEmbedCuda<QuantizedImages>>},
          {"IntPixelEmbed", create_cuda_kernel<PatchEmbedCuda<PixelImages>>}};
}

}  // namespace ivit::ort
