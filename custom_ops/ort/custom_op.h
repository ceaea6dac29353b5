// An operator of the table as ONNX Runtime's C interface wants it.
#pragma once

#include <onnxruntime_c_api.h>

#include <vector>

#include "ort/operator.h"

namespace ivit::ort {

// The callbacks find their way from OrtCustomOp back to the operator's record.
struct CustomOp : OrtCustomOp {
  explicit CustomOp(const OperatorSpec& spec);
  const OperatorSpec& spec;
};

// What the library registers.
std::vector<CustomOp> custom_ops();

}  // namespace ivit::ort
