// An operator as a custom op of the CUDA provider.
#pragma once

#include "ort/custom_op.h"

namespace ivit::ort {

// Activations are on the device, parameters stay on the host, where the kernel reads them when it is created.
CustomOp cuda_custom_op(const OperatorSpec& spec);

}  // namespace ivit::ort
