// The parameters of linear layers and of residual connections, for every operator that has them.
#pragma once

#include "kernels/common/integer.h"
#include "kernels/cuda/matmul.h"
#include "ort/operator.h"

namespace ivit::ort {

// The layer, on the device.
inline cuda::PackedLinear pack_linear(const Call& constants, const LinearInputs& inputs) {
  return cuda::PackedLinear(constants.data<int8_t>(inputs.weight), constants.input_dim(inputs.weight, 0),
                            constants.input_dim(inputs.weight, 1), constants.data<int32_t>(inputs.bias),
                            constants.dyadic(inputs.scale));
}

// Bytes between rows of `inner` elements that an operator gathers for a product: multiples of 16 are faster.
constexpr int64_t gathered_stride(int64_t inner) { return round_up(inner, 16); }

// The scales of a residual connection.
class ResidualScales {
 public:
  ResidualScales(const Call& constants, const ScaleInputs& branch, const ScaleInputs& residual)
      : branch_(cuda::scalar_scale(constants.dyadic(branch))),
        residual_(cuda::scalar_scale(constants.dyadic(residual))) {}

  cuda::Residual with(const int16_t* residual) const { return {residual, branch_, residual_}; }

 private:
  cuda::ScalarScale branch_;
  cuda::ScalarScale residual_;
};

}  // namespace ivit::ort
