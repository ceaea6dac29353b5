#include "ep/flat/source.h"

#include <algorithm>
#include <utility>

#include "ort/status.h"

namespace ivit::ep::flat {
namespace {

using ort::api;
using ort::check;

std::optional<std::vector<int64_t>> read_values(const OrtOpAttr* attribute) {
  OrtOpAttrType type = ORT_OP_ATTR_UNDEFINED;
  check(api().OpAttr_GetType(attribute, &type));
  if (type != ORT_OP_ATTR_INT && type != ORT_OP_ATTR_INTS) return std::nullopt;
  size_t bytes = 0;
  int64_t one = 0;
  if (type == ORT_OP_ATTR_INT) {
    check(api().ReadOpAttr(attribute, type, &one, sizeof one, &bytes));
    return std::vector<int64_t>{one};
  }
  // The first call says how many bytes there are, by an error if there are any.
  if (OrtStatus* status = api().ReadOpAttr(attribute, type, &one, 0, &bytes)) api().ReleaseStatus(status);
  std::vector<int64_t> values(bytes / sizeof(int64_t));
  if (!values.empty()) check(api().ReadOpAttr(attribute, type, values.data(), bytes, &bytes));
  return values;
}

std::optional<Attributes> read_attributes(const OrtNode* node) {
  size_t count = 0;
  check(api().Node_GetNumAttributes(node, &count));
  std::vector<const OrtOpAttr*> handles(count);
  if (count > 0) check(api().Node_GetAttributes(node, handles.data(), count));
  Attributes attributes;
  for (const OrtOpAttr* handle : handles) {
    const char* name = nullptr;
    check(api().OpAttr_GetName(handle, &name));
    // Of a Cast; it concerns floating-point types only.
    if (std::string(name) == "saturate" || std::string(name) == "round_mode") continue;
    std::optional<std::vector<int64_t>> values = read_values(handle);
    if (!values) return std::nullopt;
    attributes[name] = *std::move(values);
  }
  return attributes;
}

}  // namespace

Source::Source(std::vector<Node> nodes) : nodes_(std::move(nodes)) {
  for (size_t node = 0; node < nodes_.size(); ++node) {
    std::vector<size_t>& inputs = inputs_.emplace_back();
    std::vector<size_t>& outputs = outputs_.emplace_back();
    for (const OrtValueInfo* info : nodes_[node].inputs) inputs.push_back(number_of(info));
    for (const OrtValueInfo* info : nodes_[node].outputs) outputs.push_back(number_of(info));
    for (const size_t value : inputs) {
      if (value != kNone) values_[value].readers.push_back(node);
    }
    // What the graphs inside of a node read.
    for (const OrtValueInfo* info : nodes_[node].implicit_inputs) {
      values_[number_of(info)].readers.push_back(node);
    }
    for (const size_t value : outputs) {
      if (value != kNone) values_[value].producer = node;
    }
  }
}

size_t Source::number_of(const OrtValueInfo* info) {
  if (info == nullptr) return kNone;
  const std::string name = value_name(info);
  if (name.empty()) return kNone;
  const auto [found, is_new] = numbers_.emplace(name, values_.size());
  if (is_new) values_.push_back({info, name, kNone, {}});
  return found->second;
}

const std::optional<Attributes>& Source::attributes(size_t node) const {
  const auto found = attributes_.find(node);
  if (found != attributes_.end()) return found->second;
  return attributes_[node] = read_attributes(nodes_[node].handle);
}

bool Source::is_constant(size_t value) const {
  return value != kNone && (ep::is_constant(values_[value].info) || constant(value) != nullptr);
}

std::optional<ort::TensorView> Source::view(size_t value) const {
  if (value == kNone || !ep::is_constant(values_[value].info)) return std::nullopt;
  const OrtValue* tensor = nullptr;
  check(api().ValueInfo_GetInitializerValue(values_[value].info, &tensor));
  return ort::view_of(tensor);
}

const Constant* Source::constant(size_t value) const {
  if (value == kNone) return nullptr;
  const auto found = constants_.find(value);
  if (found != constants_.end()) return found->second ? &*found->second : nullptr;
  std::optional<Constant> result;
  if (const std::optional<ort::TensorView> tensor = view(value)) {
    result = read_constant(*tensor);
  } else if (const size_t node = values_[value].producer;
             node != kNone && nodes_[node].domain.empty() && nodes_[node].left_because.empty()) {
    const std::vector<size_t>& inputs = inputs_[node];
    // Weights are not read for nothing.
    if (std::all_of(inputs.begin(), inputs.end(), [&](size_t input) { return is_constant(input); })) {
      result = evaluate_node(node);
    }
  }
  std::optional<Constant>& kept = constants_[value] = std::move(result);
  return kept ? &*kept : nullptr;
}

std::optional<Constant> Source::evaluate_node(size_t node) const {
  std::vector<const Constant*> inputs;
  for (const size_t input : inputs_[node]) inputs.push_back(constant(input));
  const bool known = std::find(inputs.begin(), inputs.end(), nullptr) == inputs.end();
  if (!known || inputs.empty() || outputs_[node].size() != 1 || !attributes(node)) return std::nullopt;
  if (nodes_[node].op_type != "Shape") return evaluate(nodes_[node].op_type, *attributes(node), inputs);
  return shape_constant(*attributes(node), inputs[0]->shape);
}

ONNXTensorElementDataType Source::type(size_t value) const { return element_type(values_[value].info); }

std::vector<Dim> Source::shape(size_t value) const {
  const OrtTensorTypeAndShapeInfo* tensor = tensor_info(values_[value].info);
  size_t rank = 0;
  if (tensor != nullptr) check(api().GetDimensionsCount(tensor, &rank));
  std::vector<int64_t> numbers(rank);
  std::vector<const char*> names(rank);
  if (rank > 0) {
    check(api().GetDimensions(tensor, numbers.data(), rank));
    check(api().GetSymbolicDimensions(tensor, names.data(), rank));
  }
  std::vector<Dim> shape;
  for (size_t axis = 0; axis < rank; ++axis) {
    shape.push_back({numbers[axis], numbers[axis] < 0 && names[axis] != nullptr ? names[axis] : ""});
  }
  return shape;
}

}  // namespace ivit::ep::flat
