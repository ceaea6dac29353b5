// QuantizeImage: contract and call of the CPU kernel.
#include "kernels/cpu/quantize_image.h"

#include "ort/operators/families.h"
#include "ort/operators/pixels.h"

namespace ivit::ort {
namespace {

enum Input { kImage, kMultiplier };

class QuantizeImageKernel final : public Kernel {
 public:
  explicit QuantizeImageKernel(const Call& constants) : pixels_(constants, kMultiplier) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    cpu::PixelTables storage;
    cpu::quantize_image(parallel, call.data<uint8_t>(kImage), shape, pixels_.tables(call, storage),
                        call.output<int8_t>());
  }

 private:
  PixelInputs pixels_;
};

}  // namespace

std::vector<OperatorSpec> quantize_image_operators() {
  return {{"QuantizeImage",
           {activation("image", kUint8, "NCHW"),
            {"multiplier", kInt32, "C"},
            {"offset", kInt64, "C", kOffsetRange},
            {"shift", kInt8, "C", kShiftRange}},
           {"y", kInt8, "NCHW"},
           {},
           create_kernel<QuantizeImageKernel>}};
}

}  // namespace ivit::ort
