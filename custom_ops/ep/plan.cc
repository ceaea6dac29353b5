#include "ep/plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "ep/flat/raise.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {}  // namespace

Plan::Plan(const OrtGraph* graph) {
  std::map<std::string, size_t> numbers;
  const auto add = [&](const std::string& name, Value::Home home, size_t index) {
    numbers[name] = values_.size();
    values_.push_back({name, home, index});
  };
  for (const OrtValueInfo* value : graph_inputs(graph)) {
    if (is_constant(value)) continue;
    add(value_name(value), Value::Home::kInput, inputs_.size());
    inputs_.push_back(value_name(value));
  }
  outputs_ = value_names(graph_outputs(graph));
  const flat::Source source(read_nodes(graph));
  flat::Cover cover = flat::cover(source, outputs_);
  for (size_t node = 0; node < cover.taken.size(); ++node) {
    if (!cover.taken[node]) throw ort::InvalidArgument(source.nodes()[node].describe() + ": " + cover.reasons[node]);
  }
  for (size_t value = 0; value < source.values().size(); ++value) {
    const auto view = source.view(value);
    if (view) constant_bytes_ += ort::checked_product(ort::element_count(view->shape), element_bytes(view->type));
  }
  for (flat::Operation& operation : cover.operations) {
    Step step{operation.name, operation.call, {}, {}, std::move(operation.parameters)};
    // A standard operator has its constants as attributes of the call, not as inputs.
    for (size_t input = 0; input < step.call.spec.inputs.size(); ++input) {
      if (step.call.is_constant(input)) continue;
      const auto found = numbers.find(operation.inputs[input]);
      if (found == numbers.end()) {
        throw ort::InvalidArgument(operation.name + ": input " + operation.inputs[input] +
                                   " is computed by no node before it");
      }
      step.inputs.push_back({input, found->second});
    }
    for (const std::string& name : operation.outputs) {
      const auto output = std::find(outputs_.begin(), outputs_.end(), name);
      step.outputs.push_back(values_.size());
      if (output != outputs_.end() && !name.empty()) {
        add(name, Value::Home::kOutput, static_cast<size_t>(output - outputs_.begin()));
      } else {
        add(name, Value::Home::kArena, arena_values_++);
      }
    }
    steps_.push_back(std::move(step));
  }
}

Layout Plan::layout(const std::vector<std::vector<int64_t>>& input_shapes) const {
  Layout layout;
  layout.input_shapes = input_shapes;
  layout.output_shapes.resize(outputs_.size());
  std::vector<std::vector<int64_t>> shapes(values_.size());
  std::vector<Lifetime> lifetimes(arena_values_, Lifetime{0, 0, 0});
  for (size_t value = 0; value < values_.size(); ++value) {
    if (values_[value].home == Value::Home::kInput) shapes[value] = input_shapes[values_[value].index];
  }
  for (size_t number = 0; number < steps_.size(); ++number) {
    const Step& step = steps_[number];
    ort::Call call = step.call;
    const ort::OperatorSpec& spec = call.spec;
    for (const Step::Activation& activation : step.inputs) {
      const ort::TensorSpec& input = spec.inputs[activation.input];
      const std::vector<int64_t>& shape = shapes[activation.value];
      if (!call.dims.bind(input.shape, shape)) {
        throw ort::InvalidArgument(step.name + ": " + ort::shape_error(spec, call.attributes, call.dims, input, shape));
      }
      const Value& value = values_[activation.value];
      if (value.home == Value::Home::kArena) lifetimes[value.index].last = static_cast<int64_t>(number);
    }
    ort::complete(spec, call.attributes, call.dims);
    bool idle = false;
    for (size_t output = 0; output < step.outputs.size(); ++output) {
      const Value& value = values_[step.outputs[output]];
      const ort::TensorSpec& contract = spec.outputs[output];
      std::vector<int64_t>& shape = shapes[step.outputs[output]];
      shape = call.dims.shape(contract.shape);
      const int64_t bytes = ort::checked_product(ort::element_count(shape), element_bytes(contract.type));
      idle = idle || bytes == 0;
      if (value.home == Value::Home::kOutput) {
        layout.output_shapes[value.index] = shape;
      } else {
        const int64_t step_number = static_cast<int64_t>(number);
        lifetimes[value.index] = {bytes, step_number, step_number};
      }
    }
    layout.idle.push_back(idle);
    layout.empty = layout.empty && idle;
    layout.calls.push_back(std::move(call));
  }
  layout.arena = plan_arena(lifetimes);
  return layout;
}

}  // namespace ivit::ep
