// Output shapes from the operators' shape patterns, so that shapes flow through models without function bodies.
#include "ort/shape_inference.h"

#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "ort/status.h"

namespace ivit::ort {
namespace {

// A dimension that is known by value, by name ("batch"), or not at all.
struct Dim {
  int64_t value = Dims::kUnknown;
  std::string name;

  bool known() const { return value >= 0 || !name.empty(); }
};

std::vector<Dim> input_shape(OrtShapeInferContext* context, size_t index) {
  OrtTensorTypeAndShapeInfo* info = nullptr;  // owned by the context
  check(api().ShapeInferContext_GetInputTypeShape(context, index, &info));
  size_t rank = 0;
  check(api().GetDimensionsCount(info, &rank));
  std::vector<int64_t> values(rank);
  std::vector<const char*> names(rank);
  check(api().GetDimensions(info, values.data(), rank));
  check(api().GetSymbolicDimensions(info, names.data(), rank));
  std::vector<Dim> shape(rank);
  for (size_t axis = 0; axis < rank; ++axis) shape[axis] = {values[axis], names[axis] ? names[axis] : ""};
  return shape;
}

// All attributes, or nothing if one is missing or outside its range.
std::optional<std::vector<int64_t>> read_attributes(const OperatorSpec& spec, OrtShapeInferContext* context) {
  std::vector<int64_t> values;
  for (const AttributeSpec& attribute : spec.attributes) {
    const OrtOpAttr* read = nullptr;
    int64_t value = 0;
    size_t size = 0;
    OrtStatus* status = api().ShapeInferContext_GetAttribute(context, attribute.name, &read);
    if (status == nullptr) status = api().ReadOpAttr(read, ORT_OP_ATTR_INT, &value, sizeof value, &size);
    if (status != nullptr) {
      api().ReleaseStatus(status);
      return std::nullopt;
    }
    if (!attribute.range.contains(value)) return std::nullopt;
    values.push_back(value);
  }
  return values;
}

// Letters and leading dimensions as far as the inputs tell them; where inputs disagree, the first one counts.
struct Symbols {
  std::optional<std::vector<Dim>> leading;
  std::map<char, Dim> letters;

  void learn(const char* pattern, const std::vector<Dim>& shape) {
    const bool any_leading = *pattern == '*';
    if (any_leading || *pattern == '?') ++pattern;
    const size_t rank = std::strlen(pattern);
    // An input of unknown rank looks like a scalar here.
    if (any_leading ? shape.size() < rank : shape.size() != rank) return;
    const size_t first = shape.size() - rank;
    if (any_leading && !leading) leading.emplace(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(first));
    for (size_t axis = 0; axis < rank; ++axis) {
      Dim& dim = letters[pattern[axis]];
      if (dim.value < 0 && shape[first + axis].known()) dim = shape[first + axis];
    }
  }

  void derive(const OperatorSpec& spec, OrtShapeInferContext* context) {
    const std::optional<std::vector<int64_t>> attributes = read_attributes(spec, context);
    if (!attributes) return;
    Dims dims;
    for (const auto& [letter, dim] : letters) {
      if (dim.value >= 0) dims[letter] = dim.value;
    }
    try {
      complete(spec, *attributes, dims);
    } catch (const InvalidArgument&) {
      return;
    }
    for (const TensorSpec& output : spec.outputs) {
      for (const char* letter = output.shape; *letter != '\0'; ++letter) {
        if (*letter != '*' && dims[*letter] >= 0) letters[*letter] = {dims[*letter], ""};
      }
    }
  }

  // The shape of the pattern, or nothing if a dimension of it is unknown.
  std::optional<std::vector<Dim>> shape(const char* pattern) {
    std::vector<Dim> result;
    for (; *pattern != '\0'; ++pattern) {
      if (*pattern != '*') {
        result.push_back(letters[*pattern]);
      } else if (leading) {
        result.insert(result.end(), leading->begin(), leading->end());
      } else {
        return std::nullopt;
      }
    }
    for (const Dim& dim : result) {
      if (!dim.known()) return std::nullopt;
    }
    return result;
  }
};

void set_output_shape(OrtShapeInferContext* context, size_t index, ONNXTensorElementDataType type,
                      const std::vector<Dim>& shape) {
  std::vector<int64_t> values;
  std::vector<const char*> names;
  for (const Dim& dim : shape) {
    values.push_back(dim.value);
    names.push_back(dim.value >= 0 ? "" : dim.name.c_str());
  }
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api().CreateTensorTypeAndShapeInfo(&info));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, void (*)(OrtTensorTypeAndShapeInfo*)> owner(
      info, [](OrtTensorTypeAndShapeInfo* owned) { api().ReleaseTensorTypeAndShapeInfo(owned); });
  check(api().SetTensorElementType(info, type));
  check(api().SetDimensions(info, values.data(), values.size()));
  check(api().SetSymbolicDimensions(info, names.data(), names.size()));
  check(api().ShapeInferContext_SetOutputTypeShape(context, index, info));
}

}  // namespace

void infer_shape(const OperatorSpec& spec, OrtShapeInferContext* context) {
  Symbols symbols;
  for (size_t index = 0; index < spec.inputs.size(); ++index) {
    symbols.learn(spec.inputs[index].shape, input_shape(context, index));
  }
  symbols.derive(spec, context);
  for (size_t index = 0; index < spec.outputs.size(); ++index) {
    const TensorSpec& output = spec.outputs[index];
    if (const auto shape = symbols.shape(output.shape)) set_output_shape(context, index, output.type, *shape);
  }
}

}  // namespace ivit::ort
