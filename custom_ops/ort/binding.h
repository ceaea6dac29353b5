// Checks what ONNX Runtime hands to an operator against the operator's contract and fills a Call with it.
#pragma once

#include <onnxruntime_c_api.h>

#include "ort/operator.h"

namespace ivit::ort {

// Reads and checks the attributes of a node, and its constant inputs. Throws InvalidArgument.
Call bind_constants(const OperatorSpec& spec, const OrtKernelInfo* info);

// Completes the call with the inputs of one run. Throws InvalidArgument.
Call bind_run(const Call& constants, const OrtKernelContext* context);

}  // namespace ivit::ort
