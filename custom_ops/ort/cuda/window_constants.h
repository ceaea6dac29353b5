// Constants of attention in windows, on the device.
#pragma once

#include <vector>

#include "kernels/cuda/runtime.h"
#include "kernels/cuda/window_parameters.h"
#include "ort/operator.h"
#include "ort/operators/window_grid.h"

namespace ivit::ort {

template <class Op>
class WindowConstants {
 public:
  // check(grid, head dimension) throws for windows that are too large.
  template <class Check>
  WindowConstants(const Call& constants, const Check& check)
      : grid_(checked_grid(constants, check)),
        padding_(padding(constants)),
        bias_(cuda::window_bias(grid_, constants.attributes[Op::kHeads],
                                constants.data<int16_t>(Op::kRelativePosition))) {}

  cuda::WindowParameters get() const { return {grid_, padding_.get(), bias_.get()}; }

 private:
  static std::vector<int8_t> padding(const Call& constants) {
    const int8_t* const values = constants.data<int8_t>(Op::kPadding);
    return {values, values + constants.input_dim(Op::kPadding, 0)};
  }

  template <class Check>
  static WindowGrid checked_grid(const Call& constants, const Check& check) {
    const WindowGrid grid = window_grid<Op>(constants);
    // The padding says how many channels there are.
    check(grid, constants.dims['C'] / constants.attributes[Op::kHeads]);
    return grid;
  }

  WindowGrid grid_;
  cuda::DeviceArray<int8_t> padding_;
  cuda::DeviceArray<int16_t> bias_;
};

}  // namespace ivit::ort
