// QuantizeImage: contract and call of the CPU kernel.
#include "kernels/cpu/quantize_image.h"

#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Input { kImage, kMultiplier, kOffset, kShift };

class QuantizeImageKernel final : public Kernel {
 public:
  explicit QuantizeImageKernel(const Call&) {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    const cpu::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    const cpu::PixelScale scale{call.data<int32_t>(kMultiplier), call.data<int64_t>(kOffset),
                                call.data<int8_t>(kShift)};
    cpu::quantize_image(parallel, call.data<uint8_t>(kImage), shape, scale, static_cast<int8_t*>(output));
  }
};

}  // namespace

std::vector<OperatorSpec> quantize_image_operators() {
  return {{"QuantizeImage",
           {{"image", kUint8, "NCHW"},
            {"multiplier", kInt32, "C"},
            {"offset", kInt64, "C", kOffsetRange},
            {"shift", kInt8, "C", kShiftRange}},
           {"y", kInt8, "NCHW"},
           {},
           create_kernel<QuantizeImageKernel>}};
}

}  // namespace ivit::ort
