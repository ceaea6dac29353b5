// Checks what ONNX Runtime hands to an operator against the operator's contract and fills a Call with it.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <vector>

#include "ort/operator.h"

namespace ivit::ort {

// Reads and checks the attributes of a node, and its constant inputs. Throws InvalidArgument.
Call bind_constants(const OperatorSpec& spec, const OrtKernelInfo* info);

// A tensor in somebody else's memory.
struct TensorView {
  ONNXTensorElementDataType type;
  std::vector<int64_t> shape;
  const void* data;
  // Owner of the data where it had to be copied: that of weights in a file of their own may begin at any byte.
  std::shared_ptr<const void> copy = nullptr;
};

TensorView view_of(const OrtValue* value);
std::vector<int64_t> shape_of(const OrtValue* value);
const void* data_of(const OrtValue* value);

// Fills one input of the call, checked. Throws InvalidArgument.
void bind_input(Call& call, size_t index, const TensorView& tensor);
void bind_input(Call& call, size_t index, const OrtValue* value);

// Throws InvalidArgument naming the first parameter that is not constant, if there is one.
void require_constant_parameters(const Call& constants);

// Completes the call with the inputs of one run. Throws InvalidArgument.
Call bind_run(const Call& constants, const OrtKernelContext* context);

}  // namespace ivit::ort
