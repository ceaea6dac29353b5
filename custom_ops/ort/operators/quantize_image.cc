// QuantizeImage: call of the CPU kernel.
#include "kernels/cpu/quantize_image.h"

#include "ort/operators/pixels.h"

namespace ivit::ort {
namespace {

template <class Op>
class QuantizeImageKernel final : public Kernel {
 public:
  explicit QuantizeImageKernel(const Call& constants) : pixels_(constants, Op::kAffine) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::ImageShape shape{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']};
    cpu::PixelTables storage;
    cpu::quantize_image(parallel, call.data<uint8_t>(Op::kImage), shape, pixels_.tables(call, storage),
                        call.output<int8_t>());
  }

 private:
  PixelParameters pixels_;
};

}  // namespace

IVIT_KERNEL(QuantizeImage, QuantizeImageKernel)

}  // namespace ivit::ort
