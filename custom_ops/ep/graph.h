// What the provider reads of ONNX Runtime's graphs.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>
#include <vector>

#include "ort/operator.h"

namespace ivit::ep {

struct Node {
  const OrtNode* handle;
  std::string domain;
  std::string op_type;
  std::string name;
  std::vector<const OrtValueInfo*> inputs;
  std::vector<const OrtValueInfo*> outputs;
  // What the graphs inside of it read.
  std::vector<const OrtValueInfo*> implicit_inputs;
  // Why it must not be taken; empty if it may be.
  std::string left_because;

  // "IntLinear (blocks.0.qkv)"
  std::string describe() const { return op_type + (name.empty() ? "" : " (" + name + ")"); }
};

Node read_node(const OrtNode* handle);

// In topological order.
std::vector<Node> read_nodes(const OrtGraph* graph);

// An input that a node leaves out, null here, is no constant.
bool is_constant(const OrtValueInfo* value);
// Null of what is no tensor, or if nothing is known.
const OrtTensorTypeAndShapeInfo* tensor_info(const OrtValueInfo* value);
// The dimensions of a tensor as far as they are known, -1 for others; empty for a scalar or if nothing is known.
std::vector<int64_t> shape_of(const OrtValueInfo* value);
// UNDEFINED of what is no tensor.
ONNXTensorElementDataType element_type(const OrtValueInfo* value);
std::string value_name(const OrtValueInfo* value);
std::vector<std::string> value_names(const std::vector<const OrtValueInfo*>& values);
std::vector<const OrtValueInfo*> graph_inputs(const OrtGraph* graph);
std::vector<const OrtValueInfo*> graph_outputs(const OrtGraph* graph);

// Why the graph's nodes of the domain are none of this library's: another version of the domain. Empty if they are.
std::string other_domain_version(const OrtGraph* graph);

// An integer attribute. Throws InvalidArgument if there is none.
int64_t read_attribute(const Node& node, const char* name);

// A node's operator, attributes and parameters, as in ort/binding.h. The call refers to memory of the graph. Throws
// InvalidArgument with the reason when the node is none of this library's, or has a parameter that is not constant.
ort::Call bind_node(const Node& node);

}  // namespace ivit::ep
