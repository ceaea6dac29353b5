#include "ep/graph.h"

#include <cstring>

#include "ep/standard.h"
#include "ort/binding.h"
#include "ort/domain.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::InvalidArgument;

using CountOf = OrtStatus*(ORT_API_CALL*)(const OrtGraph*, size_t*);
using ValuesOf = OrtStatus*(ORT_API_CALL*)(const OrtGraph*, const OrtValueInfo**, size_t);

const ort::OperatorSpec& spec_of(const Node& node) {
  if (node.domain != ort::kDomain) {
    throw InvalidArgument("operators of the domain '" + node.domain + "' are left to other providers");
  }
  for (const ort::OperatorSpec& spec : ort::operators()) {
    if (node.op_type == spec.name) return spec;
  }
  throw InvalidArgument("there is no kernel for ivit." + node.op_type);
}

}  // namespace

Node read_node(const OrtNode* handle) {
  Node node{handle, {}, {}, {}, {}, {}, {}, {}};
  const char* text = nullptr;
  check(api().Node_GetDomain(handle, &text));
  node.domain = text;
  check(api().Node_GetOperatorType(handle, &text));
  node.op_type = text;
  check(api().Node_GetName(handle, &text));
  node.name = text;
  size_t count = 0;
  check(api().Node_GetNumInputs(handle, &count));
  node.inputs.resize(count);
  check(api().Node_GetInputs(handle, node.inputs.data(), count));
  check(api().Node_GetNumOutputs(handle, &count));
  node.outputs.resize(count);
  check(api().Node_GetOutputs(handle, node.outputs.data(), count));
  check(api().Node_GetNumImplicitInputs(handle, &count));
  node.implicit_inputs.resize(count);
  if (count > 0) check(api().Node_GetImplicitInputs(handle, node.implicit_inputs.data(), count));
  int since_version = 0;
  check(api().Node_GetSinceVersion(handle, &since_version));
  if (const int known = standard_version(node); known != 0 && known != since_version) {
    node.left_because =
        "expected " + node.op_type + "-" + std::to_string(known) + ", found " + std::to_string(since_version);
  }
  return node;
}

std::vector<Node> read_nodes(const OrtGraph* graph) {
  size_t count = 0;
  check(api().Graph_GetNumNodes(graph, &count));
  std::vector<const OrtNode*> handles(count);
  check(api().Graph_GetNodes(graph, handles.data(), count));
  std::vector<Node> nodes;
  for (const OrtNode* handle : handles) nodes.push_back(read_node(handle));
  return nodes;
}

bool is_constant(const OrtValueInfo* value) {
  bool constant = false;
  if (value == nullptr) return false;
  check(api().ValueInfo_IsConstantInitializer(value, &constant));
  return constant;
}

const OrtTensorTypeAndShapeInfo* tensor_info(const OrtValueInfo* value) {
  const OrtTypeInfo* type_info = nullptr;
  check(api().GetValueInfoTypeInfo(value, &type_info));
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  if (type_info != nullptr) check(api().CastTypeInfoToTensorInfo(type_info, &tensor));
  return tensor;
}

std::vector<int64_t> shape_of(const OrtValueInfo* value) {
  const OrtTensorTypeAndShapeInfo* tensor = tensor_info(value);
  size_t rank = 0;
  if (tensor != nullptr) check(api().GetDimensionsCount(tensor, &rank));
  std::vector<int64_t> shape(rank);
  if (rank > 0) check(api().GetDimensions(tensor, shape.data(), rank));
  return shape;
}

ONNXTensorElementDataType element_type(const OrtValueInfo* value) {
  const OrtTensorTypeAndShapeInfo* tensor = tensor_info(value);
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  if (tensor != nullptr) check(api().GetTensorElementType(tensor, &type));
  return type;
}

std::string value_name(const OrtValueInfo* value) {
  const char* name = nullptr;
  check(api().GetValueInfoName(value, &name));
  return name;
}

std::vector<std::string> value_names(const std::vector<const OrtValueInfo*>& values) {
  std::vector<std::string> names;
  for (const OrtValueInfo* value : values) names.push_back(value == nullptr ? "" : value_name(value));
  return names;
}

std::vector<const OrtValueInfo*> graph_inputs(const OrtGraph* graph) {
  size_t count = 0;
  check(api().Graph_GetNumInputs(graph, &count));
  std::vector<const OrtValueInfo*> values(count);
  check(api().Graph_GetInputs(graph, values.data(), count));
  return values;
}

std::vector<const OrtValueInfo*> graph_outputs(const OrtGraph* graph) {
  size_t count = 0;
  check(api().Graph_GetNumOutputs(graph, &count));
  std::vector<const OrtValueInfo*> values(count);
  check(api().Graph_GetOutputs(graph, values.data(), count));
  return values;
}

std::string other_domain_version(const OrtGraph* graph) {
  size_t count = 0;
  check(api().Graph_GetNumOperatorSets(graph, &count));
  std::vector<const char*> domains(count);
  std::vector<int64_t> versions(count);
  if (count > 0) check(api().Graph_GetOperatorSets(graph, domains.data(), versions.data(), count));
  for (size_t i = 0; i < count; ++i) {
    if (std::strcmp(domains[i], ort::kDomain) != 0 || (versions[i] >= 1 && versions[i] <= ort::kDomainVersion))
      continue;
    return "ivit: expected a model for version " + std::to_string(ort::kDomainVersion) +
           " of the domain ivit at most, found version " + std::to_string(versions[i]) + ": install a newer ivit-onnx";
  }
  return "";
}

int64_t read_attribute(const Node& node, const char* name) {
  const OrtOpAttr* attribute = nullptr;
  OrtStatus* status = api().Node_GetAttributeByName(node.handle, name, &attribute);
  int64_t value = 0;
  size_t size = 0;
  if (status == nullptr && attribute != nullptr) {
    status = api().ReadOpAttr(attribute, ORT_OP_ATTR_INT, &value, sizeof value, &size);
    if (status == nullptr) return value;
  }
  if (status != nullptr) api().ReleaseStatus(status);
  throw InvalidArgument(node.op_type + ": attribute " + name + ": expected an integer, found none");
}

ort::Call bind_node(const Node& node) {
  if (node.domain.empty()) return bind_standard(node);
  const ort::OperatorSpec& spec = spec_of(node);
  if (node.inputs.size() != spec.inputs.size() || node.outputs.size() != spec.outputs.size()) {
    throw InvalidArgument(node.op_type + ": expected " + std::to_string(spec.inputs.size()) + " inputs and " +
                          std::to_string(spec.outputs.size()) + " outputs, found " +
                          std::to_string(node.inputs.size()) + " and " + std::to_string(node.outputs.size()));
  }
  ort::Call call(spec);
  for (const ort::AttributeSpec& attribute : spec.attributes) {
    call.attributes.push_back(ort::check_attribute(spec, attribute, read_attribute(node, attribute.name)));
  }
  for (size_t index = 0; index < spec.inputs.size(); ++index) {
    if (node.inputs[index] == nullptr)
      throw InvalidArgument(node.op_type + ": there is no input " + spec.inputs[index].name);
    if (!is_constant(node.inputs[index])) {
      const auto type = element_type(node.inputs[index]);
      if (type != spec.inputs[index].type) {
        throw InvalidArgument(node.op_type + ": expected the element type " + std::to_string(spec.inputs[index].type) +
                              " of input " + spec.inputs[index].name + ", found " + std::to_string(type));
      }
      continue;
    }
    const OrtValue* value = nullptr;
    check(api().ValueInfo_GetInitializerValue(node.inputs[index], &value));
    call.inputs[index].constant = true;
    ort::bind_input(call, index, value);
  }
  ort::require_constant_parameters(call);
  ort::complete(spec, call.attributes, call.dims);
  return call;
}

}  // namespace ivit::ep
