// IntPatchEmbed, IntPixelEmbed on the GPU.
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/tokens.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/linear.h"
#include "ort/cuda/patch_rows.h"

namespace ivit::ort {
namespace {

template <class Op>
class PatchEmbedCuda final : public CudaKernel {
 public:
  explicit PatchEmbedCuda(const Call& constants)
      : images_(constants),
        projection_(pack_linear(constants, Op::kLinear)),
        scale_(cuda::scalar_scale(constants.dyadic(Op::kTokenScale))),
        position_(table<int32_t>(constants, Op::kPosition)),
        prefix_(table<int16_t>(constants, Op::kPrefixTokens)) {}
  size_t scratch_bytes(const Call& call) const override { return patch_row_bytes<Op>(call); }
  void compute(const Call& call, const CudaRun& run) const override {
    const Dims& dims = call.dims;
    int16_t* const tokens = call.output<int16_t>();
    cuda::place_prefix(prefix_.get(), dims['K'], dims['N'], call.output_dim(0, 1), dims['D'], tokens, run.stream);
    const PatchRows rows = gather_rows<Op>(images_, call, run.scratch, run.stream);
    cuda::matmul(rows.data, rows.stride, rows.count, projection_,
                 cuda::place_to(tokens, scale_, position_.get(), rows.per_image, dims['K']), run.stream);
  }

 private:
  template <class T>
  static cuda::DeviceArray<T> table(const Call& constants, size_t input) {
    const T* const data = constants.data<T>(input);
    const int64_t size = constants.input_dim(input, 0) * constants.input_dim(input, 1);
    return cuda::DeviceArray<T>(std::vector<T>(data, data + size));
  }

  DeviceImages<Op> images_;
  cuda::PackedLinear projection_;
  cuda::ScalarScale scale_;
  cuda::DeviceArray<int32_t> position_;
  cuda::DeviceArray<int16_t> prefix_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntPatchEmbed, PatchEmbedCuda)
IVIT_CUDA_KERNEL(IntPixelEmbed, PatchEmbedCuda)

}  // namespace ivit::ort
