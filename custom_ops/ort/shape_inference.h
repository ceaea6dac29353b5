// Output shapes from the operators' shape patterns, so that shapes flow through models without function bodies.
#pragma once

#include <onnxruntime_c_api.h>

#include "ort/operator.h"

namespace ivit::ort {

// Sets the output shape as far as it follows from what is known; never rejects anything, which is left to the kernels.
void infer_shape(const OperatorSpec& spec, OrtShapeInferContext* context);

}  // namespace ivit::ort
