// A compiled graph: operators in order, and for given input shapes the shape and the place of every value. What runs
// the operators, on which device, is left to others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ep/arena.h"
#include "ep/graph.h"
#include "ort/operator.h"

namespace ivit::ep {

// One operator: its parameters and attributes are bound, its activations are numbered values.
struct Step {
  std::string name;
  ort::Call call;
  struct Activation {
    size_t input;
    size_t value;
  };
  std::vector<Activation> inputs;
  std::vector<size_t> outputs;
  // Memory of parameters that the graph does not have as they are. Once a program has its own, it is not needed.
  std::vector<std::vector<uint8_t>> parameters;
};

struct Value {
  enum class Home { kInput, kOutput, kArena };
  std::string name;
  Home home;
  // Number of the graph's input or output, or of the value in the arena.
  size_t index;
};

// Everything that depends on the shapes of the inputs.
struct Layout {
  std::vector<std::vector<int64_t>> input_shapes;
  std::vector<std::vector<int64_t>> output_shapes;
  // The steps' calls with all dimensions bound; their pointers to activations are set in a run.
  std::vector<ort::Call> calls;
  ArenaLayout arena;
  // Whether a step computes nothing, because a dimension of its outputs is 0.
  std::vector<bool> idle;
  // Whether all of them do.
  bool empty = true;
};

using ort::element_bytes;

class Plan {
 public:
  // Throws InvalidArgument if a node cannot be compiled.
  explicit Plan(const OrtGraph* graph);

  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }
  const std::vector<Value>& values() const { return values_; }
  // The names of the values that a run gets and gives, in this order.
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

  // The graph's constants, which nobody needs once the kernels have what they need of them.
  int64_t constant_bytes() const { return constant_bytes_; }

  // Throws InvalidArgument if a shape does not fit.
  Layout layout(const std::vector<std::vector<int64_t>>& input_shapes) const;

 private:
  std::vector<Step> steps_;
  std::vector<Value> values_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  size_t arena_values_ = 0;
  int64_t constant_bytes_ = 0;
};

}  // namespace ivit::ep
