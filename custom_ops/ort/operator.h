// How an operator describes itself to the glue: its contract as data, and a kernel that computes it. Everything else
// (checks, shape inference, registration) is derived from these records.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"
#include "ort/shape.h"

namespace ivit::ort {

constexpr ONNXTensorElementDataType kInt8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
constexpr ONNXTensorElementDataType kUint8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
constexpr ONNXTensorElementDataType kInt16 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16;
constexpr ONNXTensorElementDataType kInt32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
constexpr ONNXTensorElementDataType kInt64 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;

inline int64_t element_bytes(ONNXTensorElementDataType type) {
  return type == kInt64 ? 8 : type == kInt32 ? 4 : type == kInt16 ? 2 : 1;
}

// Inclusive bounds of the values of an input or attribute.
struct Range {
  int64_t minimum = INT64_MIN;
  int64_t maximum = INT64_MAX;
};

constexpr Range kShiftRange{1, 62};
// With |offset| <= 2^62, adding it to a 62-bit product stays inside int64.
constexpr Range kOffsetRange{-(int64_t{1} << 62), int64_t{1} << 62};

struct TensorSpec {
  const char* name;
  ONNXTensorElementDataType type;
  const char* shape;  // a pattern, see shape.h
  Range range = {};
  // Whether it changes with every run; other inputs are parameters of the model.
  bool activation = false;
};

inline TensorSpec activation(const char* name, ONNXTensorElementDataType type, const char* shape) {
  return {name, type, shape, {}, true};
}

// A required integer attribute; `allowed` narrows the range to single values when it is not empty.
struct AttributeSpec {
  const char* name;
  Range range;
  std::vector<int64_t> allowed = {};
};

struct OperatorSpec;

// A checked call: pointers, dimensions and attributes. When a kernel is created, only the inputs that are constant in
// the model are there, and no outputs.
class Call {
 public:
  static constexpr size_t kMaxInputs = 19;

  struct Input {
    const void* data = nullptr;
    bool constant = false;
    bool scalar = false;
    std::shared_ptr<const void> copy = nullptr;  // see TensorView
  };

  explicit Call(const OperatorSpec& spec) : spec(spec) {}

  template <class T>
  const T* data(size_t input) const {
    return static_cast<const T*>(inputs[input].data);
  }

  template <class T>
  T* output(size_t index = 0) const {
    return static_cast<T*>(outputs[index]);
  }

  // The dyadic numbers whose multiplier is input `multiplier`; the shift is always the input after it.
  Dyadic dyadic(size_t multiplier) const {
    return {data<int32_t>(multiplier), inputs[multiplier].scalar ? 0 : 1, data<int8_t>(multiplier + 1),
            inputs[multiplier + 1].scalar ? 0 : 1};
  }

  bool is_constant(size_t input) const { return inputs[input].constant; }

  const OperatorSpec& spec;
  std::array<Input, kMaxInputs> inputs;
  std::vector<int64_t> attributes;
  Dims dims;
  // The data of the outputs; an operator has one or two.
  std::array<void*, 2> outputs = {};
};

// One node's computation. Several threads may call compute at the same time.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void compute(const Call& call, const cpu::Parallel& parallel) const = 0;
};

struct OperatorSpec {
  const char* name;
  std::vector<TensorSpec> inputs;
  TensorSpec output;
  std::vector<AttributeSpec> attributes;
  std::unique_ptr<Kernel> (*create)(const Call& constants);
  // Binds letters of the output shape that are computed from others and from attributes, or throws InvalidArgument if
  // that is impossible. May be called with unknown dimensions. Null if there are none.
  void (*derive)(const OperatorSpec& spec, const std::vector<int64_t>& attributes, Dims& dims) = nullptr;
  // Without a name if there is none.
  TensorSpec second_output = {nullptr, kInt8, ""};

  size_t output_count() const { return second_output.name == nullptr ? 1 : 2; }
  const TensorSpec& output_at(size_t index) const { return index == 0 ? output : second_output; }
};

// For `OperatorSpec::create`.
template <class K>
std::unique_ptr<Kernel> create_kernel(const Call& constants) {
  return std::make_unique<K>(constants);
}

// Every operator of the domain.
const std::vector<OperatorSpec>& operators();

}  // namespace ivit::ort
