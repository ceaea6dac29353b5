// QuantizeImage on the GPU.
#include "kernels/cuda/quantize_image.h"

#include "ort/cuda/cuda_kernel.h"
#include "ort/cuda/pixels.h"

namespace ivit::ort {
namespace {

template <class Op>
class QuantizeImageCuda final : public CudaKernel {
 public:
  explicit QuantizeImageCuda(const Call& constants) : tables_(pixel_tables(constants, Op::kAffine)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    const cuda::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    cuda::quantize_image(call.data<uint8_t>(Op::kImage), shape, tables_, call.output<int8_t>(), run.stream);
  }

 private:
  cuda::PixelTables tables_;
};

}  // namespace

IVIT_CUDA_KERNEL(QuantizeImage, QuantizeImageCuda)

}  // namespace ivit::ort
