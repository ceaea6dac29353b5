#include "ep/flat/raise.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ep/flat/match.h"
#include "ep/flat/shapes.h"
#include "ep/flat/solve.h"
#include "ort/status.h"

namespace ivit::ep::flat {
namespace {

constexpr size_t kNone = Source::kNone;

using Names = std::set<std::string>;
// A pattern at a node that must not be taken.
using Banned = std::set<std::pair<const Pattern*, size_t>>;

class Raiser {
 public:
  Raiser(const Source& source, const std::vector<std::string>& outputs) : source_(source) {
    outputs_.insert(outputs.begin(), outputs.end());
  }

  Cover cover(bool raise) {
    for (;;) {
      begin();
      if (raise) raise_all();
      take_others();
      if (!ban_wrong_ones()) break;
    }
    sort();
    return {std::move(operations_), std::move(taken_), std::move(reasons_)};
  }

 private:
  void begin() {
    operations_.clear();
    raised_.clear();
    taken_.assign(source_.nodes().size(), false);
    reasons_.assign(source_.nodes().size(), "");
  }

  // Operations at the end of a graph are found first, so that none is taken for a part of itself.
  void raise_all() {
    for (size_t node = source_.nodes().size(); node-- > 0;) {
      if (taken_[node] || !source_.nodes()[node].left_because.empty() || source_.outputs(node).size() != 1) continue;
      for (const Pattern& pattern : patterns()) {
        if (pattern.terms[pattern.outputs.back()].op_type != source_.nodes()[node].op_type) continue;
        if (banned_.count({&pattern, node}) == 0 && raise(pattern, node)) break;
      }
    }
  }

  bool raise(const Pattern& pattern, size_t node) {
    const std::optional<Match> found = match(pattern, source_, source_.outputs(node)[0]);
    if (!found) return false;
    const std::optional<Solution> solution = solve(*found, source_);
    if (!solution) return false;
    const ort::OperatorSpec& spec = *pattern.spec;
    Operation operation{"", ort::Call(spec), {}, {}, {}, found->nodes};
    try {
      bind(operation, *found, *solution);
      if (!shapes_fit(operation.call, *found)) return false;
    } catch (const ort::InvalidArgument&) {
      return false;
    }
    for (const size_t output : pattern.outputs) {
      operation.outputs.push_back(source_.values()[found->values[output]].name);
    }
    operation.name = std::string(spec.name) + " (" + operation.outputs[0] + ")";
    for (const size_t taken : operation.nodes) taken_[taken] = true;
    raised_.push_back({&pattern, node});
    operations_.push_back(std::move(operation));
    return true;
  }

  // Whether the activations have the shapes of the call, as far as they are known. May throw InvalidArgument instead.
  bool shapes_fit(const ort::Call& call, const Match& found) const {
    const ort::OperatorSpec& spec = call.spec;
    Shapes shapes(call);
    for (size_t i = 0; i < spec.inputs.size(); ++i) {
      if (!spec.inputs[i].is_activation()) continue;
      if (!shapes.fit(spec.inputs[i].shape, source_.shape(found.values[found.pattern->input(i)]))) return false;
    }
    ort::Dims known = shapes.dims();
    ort::complete(spec, call.attributes, known);
    return true;
  }

  // Throws InvalidArgument if a value is outside of its range.
  void bind(Operation& operation, const Match& found, const Solution& solution) {
    ort::Call& call = operation.call;
    const ort::OperatorSpec& spec = call.spec;
    for (size_t i = 0; i < spec.attributes.size(); ++i) {
      call.attributes.push_back(ort::check_attribute(spec, spec.attributes[i], solution.attributes[i]));
    }
    for (size_t i = 0; i < spec.inputs.size(); ++i) {
      operation.inputs.emplace_back();
      if (spec.inputs[i].is_activation()) {
        operation.inputs.back() = source_.values()[found.values[found.pattern->input(i)]].name;
        continue;
      }
      call.inputs[i].constant = true;
      if (solution.views[i]) {
        ort::bind_input(call, i, *solution.views[i]);
      } else {
        const Constant& made = *solution.computed[i];
        const std::vector<uint8_t>& bytes = operation.parameters.emplace_back(bytes_of(made));
        ort::bind_input(call, i, {made.type, made.shape, bytes.data()});
      }
    }
    ort::complete(spec, call.attributes, call.dims);
  }

  // Nodes that are operations by themselves, and constants that only what is taken needs.
  void take_others() {
    const std::vector<Node>& nodes = source_.nodes();
    for (size_t node = nodes.size(); node-- > 0;) {
      if (taken_[node]) continue;
      if (!nodes[node].left_because.empty()) {
        reasons_[node] = nodes[node].left_because;
      } else if (is_needed_constant(node)) {
        taken_[node] = true;
      } else {
        take_one(node);
      }
    }
  }

  bool is_needed_constant(size_t node) const {
    if (source_.outputs(node).size() != 1) return false;
    const Source::Value& value = source_.values()[source_.outputs(node)[0]];
    return source_.constant(source_.outputs(node)[0]) != nullptr && outputs_.count(value.name) == 0 &&
           !value.readers.empty() &&
           std::all_of(value.readers.begin(), value.readers.end(), [&](size_t reader) { return taken_[reader]; });
  }

  void take_one(size_t node) {
    const Node& found = source_.nodes()[node];
    try {
      Operation operation{
          found.describe(), bind_node(found), value_names(found.inputs), value_names(found.outputs), {}, {node}};
      operation.inputs.resize(operation.call.spec.inputs.size());
      operations_.push_back(std::move(operation));
      raised_.push_back({nullptr, node});
      taken_[node] = true;
    } catch (const ort::InvalidArgument& error) {
      reasons_[node] = error.what();
    }
  }

  // The values that must be there: outputs, and what nodes that are not taken and operations read.
  Names needed_values() const {
    Names needed = outputs_;
    for (size_t node = 0; node < taken_.size(); ++node) {
      if (taken_[node]) continue;
      for (const size_t value : source_.inputs(node)) {
        if (value != kNone) needed.insert(source_.values()[value].name);
      }
      for (const std::string& name : value_names(source_.nodes()[node].implicit_inputs)) needed.insert(name);
    }
    for (const Operation& operation : operations_) {
      for (size_t i = 0; i < operation.inputs.size(); ++i) {
        if (!operation.call.is_constant(i)) needed.insert(operation.inputs[i]);
      }
    }
    return needed;
  }

  // Bans operations that do not give a value of theirs that is needed, or are cut by a node that is not taken. True if
  // there are any; without them, others may be found.
  bool ban_wrong_ones() {
    Names given;
    for (const Operation& operation : operations_) given.insert(operation.outputs.begin(), operation.outputs.end());
    Names missing;
    for (const std::string& name : needed_values()) {
      if (given.count(name) == 0) missing.insert(name);
    }
    std::vector<size_t> left(taken_.size() + 1, 0);  // nodes that are not taken, counted
    for (size_t node = 0; node < taken_.size(); ++node) left[node + 1] = left[node] + (taken_[node] ? 0 : 1);
    bool any = false;
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (raised_[i].first == nullptr) continue;
      const std::vector<size_t>& nodes = operations_[i].nodes;
      const auto [first, last] = std::minmax_element(nodes.begin(), nodes.end());
      bool wrong = left[*first] != left[*last];
      for (const size_t node : nodes) {
        for (const size_t value : source_.outputs(node)) {
          wrong = wrong || missing.count(source_.values()[value].name) > 0;
        }
      }
      if (wrong) banned_.insert(raised_[i]);
      any = any || wrong;
    }
    return any;
  }

  // Operations after those whose outputs they read.
  void sort() {
    std::map<std::string, size_t> maker;
    for (size_t i = 0; i < operations_.size(); ++i) {
      for (const std::string& name : operations_[i].outputs) maker[name] = i;
    }
    std::vector<Operation> sorted;
    std::vector<bool> done(operations_.size(), false);
    const auto ready = [&](const Operation& operation) {
      return std::all_of(operation.inputs.begin(), operation.inputs.end(), [&](const std::string& name) {
        const auto found = maker.find(name);
        return name.empty() || found == maker.end() || done[found->second];
      });
    };
    while (sorted.size() < operations_.size()) {
      const size_t before = sorted.size();
      // They were found from the end.
      for (size_t i = operations_.size(); i-- > 0;) {
        if (done[i] || !ready(operations_[i])) continue;
        done[i] = true;
        sorted.push_back(std::move(operations_[i]));
      }
      if (sorted.size() == before) throw ort::RuntimeFailure("ivit: the graph has a cycle");
    }
    operations_ = std::move(sorted);
  }

  const Source& source_;
  Names outputs_;
  Banned banned_;
  std::vector<Operation> operations_;
  // The pattern and the last node of each operation; no pattern for those that the graph has.
  std::vector<std::pair<const Pattern*, size_t>> raised_;
  std::vector<bool> taken_;
  std::vector<std::string> reasons_;
};

}  // namespace

Cover cover(const Source& source, const std::vector<std::string>& outputs, bool raise) {
  return Raiser(source, outputs).cover(raise);
}

}  // namespace ivit::ep::flat
