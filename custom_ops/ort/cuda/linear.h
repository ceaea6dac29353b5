// The parameters of linear layers and of residual connections, for every operator that has them.
#pragma once

#include "kernels/common/integer.h"
#include "kernels/cuda/matmul.h"
#include "ort/operator.h"

namespace ivit::ort {

// The layer of four inputs (weight, bias, multiplier, shift, in this order), on the device. `weight` is the index of
// the first; `inner` and `columns` are the letters of its shape.
inline cuda::PackedLinear pack_linear(const Call& constants, size_t weight, char inner, char columns) {
  return cuda::PackedLinear(constants.data<int8_t>(weight), constants.dims[inner], constants.dims[columns],
                            constants.data<int32_t>(weight + 1), constants.dyadic(weight + 2));
}

// Bytes between rows of `inner` elements that an operator gathers for a product: multiples of 16 are faster.
constexpr int64_t gathered_stride(int64_t inner) { return round_up(inner, 16); }

// The scales of a residual connection: four inputs from the branch's multiplier, of index `branch`, on.
class ResidualScales {
 public:
  ResidualScales(const Call& constants, size_t branch)
      : branch_(cuda::scalar_scale(constants.dyadic(branch))),
        residual_(cuda::scalar_scale(constants.dyadic(branch + 2))) {}

  cuda::Residual with(const int16_t* residual) const { return {residual, branch_, residual_}; }

 private:
  cuda::ScalarScale branch_;
  cuda::ScalarScale residual_;
};

}  // namespace ivit::ort
