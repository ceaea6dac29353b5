// Checks what ONNX Runtime hands to an operator against the operator's contract and fills a Call with it.
#include "ort/binding.h"

#include <cstring>
#include <string>

#include "ort/status.h"

namespace ivit::ort {
namespace {

int64_t read_attribute(const OperatorSpec& spec, const AttributeSpec& attribute, const OrtKernelInfo* info) {
  const std::string what = std::string("attribute ") + attribute.name;
  int64_t value = 0;
  if (OrtStatus* status = api().KernelInfoGetAttribute_int64(info, attribute.name, &value)) {
    api().ReleaseStatus(status);
    fail(spec, what, "an integer", "none");
  }
  return check_attribute(spec, attribute, value);
}

template <class T>
void check_values(const OperatorSpec& spec, const TensorSpec& input, const T* values, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!input.range.contains(values[i])) {
      fail(spec, std::string("values of input ") + input.name, format_range(input.range), std::to_string(values[i]));
    }
  }
}

}  // namespace

TensorView view_of(const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api().GetTensorTypeAndShape(value, &info));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, void (*)(OrtTensorTypeAndShapeInfo*)> owner(
      info, [](OrtTensorTypeAndShapeInfo* owned) { api().ReleaseTensorTypeAndShapeInfo(owned); });
  TensorView result{ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, {}, data_of(value), nullptr};
  check(api().GetTensorElementType(info, &result.type));
  size_t rank = 0;
  check(api().GetDimensionsCount(info, &rank));
  result.shape.resize(rank);
  check(api().GetDimensions(info, result.shape.data(), rank));
  const int64_t bytes = element_bytes(result.type);
  if (reinterpret_cast<uintptr_t>(result.data) % static_cast<uintptr_t>(bytes) != 0) {
    const auto count = static_cast<size_t>(element_count(result.shape));
    const auto copy = std::make_shared<std::vector<int64_t>>(count);  // 8 bytes are enough for any element
    if (count > 0) std::memcpy(copy->data(), result.data, count * static_cast<size_t>(bytes));
    result.data = copy->data();
    result.copy = copy;
  }
  return result;
}

std::vector<int64_t> shape_of(const OrtValue* value) { return view_of(value).shape; }

const void* data_of(const OrtValue* value) {
  void* data = nullptr;
  check(api().GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  return data;
}

void bind_input(Call& call, size_t index, const OrtValue* value) { bind_input(call, index, view_of(value)); }

void bind_input(Call& call, size_t index, const TensorView& tensor) {
  const TensorSpec& input = call.spec.inputs[index];
  const auto& [type, shape, data, copy] = tensor;
  const std::string what = std::string("input ") + input.name;
  if (type != input.type) {
    fail(call.spec, "element type of " + what, std::to_string(input.type), std::to_string(type));
  }
  if (!call.dims.bind(input.shape, shape)) {
    throw InvalidArgument(std::string(call.spec.name) + ": " +
                          shape_error(call.spec, call.attributes, call.dims, input, shape));
  }
  call.inputs[index].scalar = shape.empty();
  call.inputs[index].data = data;
  call.inputs[index].copy = copy;
  const size_t count = static_cast<size_t>(element_count(shape));
  if (!input.range.all()) {
    if (type == kInt8) check_values(call.spec, input, call.data<int8_t>(index), count);
    if (type == kInt16) check_values(call.spec, input, call.data<int16_t>(index), count);
    if (type == kInt32) check_values(call.spec, input, call.data<int32_t>(index), count);
    if (type == kInt64) check_values(call.spec, input, call.data<int64_t>(index), count);
  }
}

void require_constant_parameters(const Call& constants) {
  for (size_t index = 0; index < constants.spec.inputs.size(); ++index) {
    const TensorSpec& input = constants.spec.inputs[index];
    if (!input.is_activation() && !constants.is_constant(index)) {
      throw InvalidArgument(std::string(constants.spec.name) + ": input " + input.name +
                            ": expected a constant of the model, found a value that is computed");
    }
  }
}

Call bind_constants(const OperatorSpec& spec, const OrtKernelInfo* info) {
  Call call(spec);
  for (const AttributeSpec& attribute : spec.attributes) {
    call.attributes.push_back(read_attribute(spec, attribute, info));
  }
  for (size_t index = 0; index < spec.inputs.size(); ++index) {
    int is_constant = 0;
    const OrtValue* value = nullptr;
    check(api().KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
    if (is_constant == 0) continue;
    call.inputs[index].constant = true;
    bind_input(call, index, value);
  }
  complete(call.spec, call.attributes, call.dims);
  return call;
}

Call bind_run(const Call& constants, const OrtKernelContext* context) {
  Call call = constants;
  for (size_t index = 0; index < call.spec.inputs.size(); ++index) {
    // A constant was checked when the kernel was created, and stays where it is as long as the session lives.
    if (call.inputs[index].constant) continue;
    const OrtValue* value = nullptr;
    check(api().KernelContext_GetInput(context, index, &value));
    bind_input(call, index, value);
  }
  complete(call.spec, call.attributes, call.dims);
  return call;
}

}  // namespace ivit::ort
