// What an operator asks of a call, as data. The contracts of the domain are in contracts.h, which is generated from the
// operator set; checks, shape inference and registration are derived from them.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

// Positions of inputs that belong together.
struct ScaleInputs {
  size_t multiplier;
  size_t shift;
};
struct AffineInputs {
  size_t multiplier;
  size_t offset;
  size_t shift;
};
struct LinearInputs {
  size_t weight;
  size_t bias;
  ScaleInputs scale;
};

// Inclusive bounds of the values of an input, an attribute or a dimension.
struct Range {
  int64_t minimum = INT64_MIN;
  int64_t maximum = INT64_MAX;

  bool all() const { return minimum == INT64_MIN && maximum == INT64_MAX; }
  bool contains(int64_t value) const { return value >= minimum && value <= maximum; }
};

enum class Role {
  // Changes with every run.
  kActivation,
  // Of the model.
  kParameter,
  // A parameter that kernels pack when they are created: nobody reads the model's own copy after that.
  kPacked,
};

struct TensorSpec {
  const char* name;
  ONNXTensorElementDataType type;
  const char* shape;  // a pattern, see shape.h
  Role role = Role::kParameter;
  Range range = {};

  bool is_activation() const { return role == Role::kActivation; }
};

using Attributes = std::vector<int64_t>;

// A required integer attribute.
struct AttributeSpec {
  const char* name;
  Range range;
  // Narrows the range to single values when it is not empty.
  std::vector<int64_t> allowed = {};
  // Letters of dimensions that it must divide.
  const char* divides = "";
  // The attribute that it must be less than.
  size_t below = SIZE_MAX;
};

using FormValue = Extent (*)(const Dims&, const Attributes&);

// A dimension that is computed.
struct Form {
  const char* text;
  FormValue value;
  // Of `factor` times a letter: the letter, which follows from the form's value. Otherwise 0.
  char letter = 0;
  int64_t factor = 0;
};

struct Limit {
  const char* text;
  FormValue value;
  Range range;
};

struct Contract {
  const char* name;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<AttributeSpec> attributes;
  std::vector<Form> forms;
  std::vector<Limit> limits;
};

// Throws InvalidArgument: "IntLinear: WHAT: expected EXPECTED, found FOUND".
[[noreturn]] void fail(const Contract& contract, const std::string& what, const std::string& expected,
                       const std::string& found);

std::string format_range(const Range& range);

// The value of an attribute, checked by itself. Throws InvalidArgument.
int64_t check_attribute(const Contract& contract, const AttributeSpec& attribute, int64_t value);

// "shape of input x: expected [.., C] with C = 64, found [2, 65]", of one that does not fit what is bound.
std::string shape_error(const Contract& contract, const Attributes& attributes, const Dims& dims,
                        const TensorSpec& input, const std::vector<int64_t>& found);

// Computes what follows from the dimensions that are bound and from attributes, forms and their letters. Throws
// InvalidArgument if they do not fit together. Some dimensions may be unknown.
void complete(const Contract& contract, const Attributes& attributes, Dims& dims);

}  // namespace ivit::ort
