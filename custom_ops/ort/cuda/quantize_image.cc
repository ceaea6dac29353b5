// QuantizeImage on the GPU.
#include "kernels/cuda/quantize_image.h"

#include "ort/cuda/families.h"
#include "ort/cuda/pixels.h"

namespace ivit::ort {
namespace {

enum Input { kImage, kMultiplier };

class QuantizeImageCuda final : public CudaKernel {
 public:
  explicit QuantizeImageCuda(const Call& constants) : tables_(pixel_tables(constants, kMultiplier)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    const cuda::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    cuda::quantize_image(call.data<uint8_t>(kImage), shape, tables_, call.output<int8_t>(), run.stream);
  }

 private:
  cuda::PixelTables tables_;
};

}  // namespace

std::vector<CudaOperator> quantize_image_cuda() { return {{"QuantizeImage", create_cuda_kernel<QuantizeImageCuda>}}; }

}  // namespace ivit::ort
