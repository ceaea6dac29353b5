// QuantizeImage: contract and call of the CPU kernel.
#include "kernels/cpu/quantize_image.h"

#include "ort/operators/families.h"

namespace ivit::ort {
namespace {

enum Input { kImage, kMultiplier, kOffset, kShift };

class QuantizeImageKernel final : public Kernel {
 public:
  explicit QuantizeImageKernel(const Call& constants)
      : constant_(constants.is_constant(kMultiplier) && constants.is_constant(kOffset) &&
                  constants.is_constant(kShift)) {
    if (constant_) tables_ = make_tables(constants);
  }
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    const cpu::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    const cpu::PixelTables made = constant_ ? cpu::PixelTables() : make_tables(call);
    cpu::quantize_image(parallel, call.data<uint8_t>(kImage), shape, constant_ ? tables_ : made,
                        static_cast<int8_t*>(output));
  }

 private:
  static cpu::PixelTables make_tables(const Call& call) {
    const cpu::PixelScale scale{call.data<int32_t>(kMultiplier), call.data<int64_t>(kOffset),
                                call.data<int8_t>(kShift)};
    return cpu::PixelTables(scale, call.dims['C']);
  }

  bool constant_;
  cpu::PixelTables tables_;
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
