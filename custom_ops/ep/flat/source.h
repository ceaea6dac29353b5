// A graph of ONNX Runtime as patterns are looked for in it: numbered values, who makes and who reads them, and what
// is constant.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ep/flat/evaluate.h"
#include "ep/graph.h"

namespace ivit::ep::flat {

// A dimension that is known by value, by name ("batch"), or not at all.
struct Dim {
  int64_t value = -1;
  std::string name;

  bool known() const { return value >= 0 || !name.empty(); }
  bool operator==(const Dim& other) const { return value == other.value && name == other.name; }
};

class Source {
 public:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  struct Value {
    const OrtValueInfo* info;
    std::string name;
    size_t producer = kNone;
    std::vector<size_t> readers;
  };

  // `nodes` in topological order.
  explicit Source(std::vector<Node> nodes);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Value>& values() const { return values_; }
  // The values that a node reads and makes; kNone for an optional one that is not there.
  const std::vector<size_t>& inputs(size_t node) const { return inputs_[node]; }
  const std::vector<size_t>& outputs(size_t node) const { return outputs_[node]; }
  // The integer attributes of a node. Nothing if it has others.
  const std::optional<Attributes>& attributes(size_t node) const;

  // Whether a value is a constant of the graph, or computed from such ones by operators of function bodies.
  bool is_constant(size_t value) const;
  // The constant as it is in memory, if the graph has it.
  std::optional<ort::TensorView> view(size_t value) const;
  // The constant; null if the value is none that evaluates.
  const Constant* constant(size_t value) const;

  ONNXTensorElementDataType type(size_t value) const;
  // Empty if nothing is known.
  std::vector<Dim> shape(size_t value) const;

 private:
  size_t number_of(const OrtValueInfo* info);
  std::optional<Constant> evaluate_node(size_t node) const;

  std::vector<Node> nodes_;
  std::vector<Value> values_;
  std::vector<std::vector<size_t>> inputs_;
  std::vector<std::vector<size_t>> outputs_;
  std::map<std::string, size_t> numbers_;
  mutable std::map<size_t, std::optional<Attributes>> attributes_;
  mutable std::map<size_t, std::optional<Constant>> constants_;
};

}  // namespace ivit::ep::flat
