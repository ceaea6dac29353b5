// The images of operators that embed patches: quantised ones, or pixels that the operator quantises itself.
#pragma once

#include <type_traits>

#include "kernels/cpu/patches.h"
#include "ort/operators/pixels.h"

namespace ivit::ort {

// Whether an operator takes pixels.
template <class Op, class = void>
constexpr bool kTakesPixels = false;
template <class Op>
constexpr bool kTakesPixels<Op, std::void_t<decltype(Op::kPixelAffine)>> = true;

template <class Op>
cpu::PatchGrid patch_grid(const Call& call) {
  const Dims& dims = call.dims;
  return {{dims['N'], dims['C'], dims['H'], dims['W']}, call.attributes[Op::kPatchSize]};
}

// use(patches) with the patches of the images of a call.
template <class Op>
class QuantizedImages {
 public:
  explicit QuantizedImages(const Call&) {}
  template <class Use>
  void with_patches(const Call& call, const Use& use) const {
    use(cpu::QuantizedPatches(call.data<int8_t>(Op::kImage), patch_grid<Op>(call)));
  }
};

template <class Op>
class PixelImages {
 public:
  explicit PixelImages(const Call& constants) : pixels_(constants, Op::kPixelAffine) {}
  template <class Use>
  void with_patches(const Call& call, const Use& use) const {
    cpu::PixelTables storage;
    use(cpu::PixelPatches(call.data<uint8_t>(Op::kImage), patch_grid<Op>(call), pixels_.tables(call, storage)));
  }

 private:
  PixelParameters pixels_;
};

template <class Op>
using Images = std::conditional_t<kTakesPixels<Op>, PixelImages<Op>, QuantizedImages<Op>>;

}  // namespace ivit::ort
