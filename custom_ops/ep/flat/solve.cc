#include "ep/flat/solve.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace ivit::ep::flat {
namespace {

// The root of a square; of another number it is no matter, for what follows is checked.
int64_t square_root(int64_t square) {
  int64_t root = 0;
  for (int64_t bit = int64_t{1} << 30; bit > 0; bit /= 2) {
    if ((root + bit) * (root + bit) <= square) root += bit;
  }
  return root;
}

constexpr size_t kNone = Source::kNone;

class Solver {
 public:
  Solver(const Match& match, const Source& source)
      : match_(match), source_(source), pattern_(*match.pattern), known_(pattern_.terms.size()) {}

  std::optional<Solution> solve() {
    for (const auto& [attribute, value] : match_.given) {
      if (!guess(pattern_.attribute(attribute), {ort::kInt64, {}, {value}})) return std::nullopt;
    }
    for (const Match::Equation& equation : match_.equations) {
      const bool input = pattern_.terms[equation.term].kind == Term::Kind::kInput;
      if (input && equation.value != kNone) inputs_[equation.term] = equation.value;
    }
    // Each round may tell what the next one needs.
    for (bool progress = true; progress;) {
      progress = false;
      for (const Match::Equation& equation : match_.equations) {
        if (inputs_.count(equation.term) > 0 || evaluate(equation.term) != nullptr) continue;
        const Constant neutral{ort::kInt64, {}, {equation.neutral}};
        const Constant* constant = equation.value == kNone ? &neutral : source_.constant(equation.value);
        if (constant == nullptr) return std::nullopt;
        progress = invert(equation.term, *constant) || progress;
      }
    }
    if (!all_known() ? !try_grids() : !verify()) return std::nullopt;
    return solution();
  }

 private:
  // The value of a term, as far as it follows from what is known; null if it does not.
  const Constant* evaluate(size_t term) {
    std::optional<Constant>& known = known_[term];
    if (known) return &*known;
    const Term& wanted = pattern_.terms[term];
    if (wanted.kind == Term::Kind::kConstant) return &(known = wanted.constant).value();
    if (wanted.kind == Term::Kind::kInput && inputs_.count(term) > 0) return source_.constant(inputs_[term]);
    if (wanted.kind != Term::Kind::kNode || wanted.needs == Term::Needs::kActivations) return nullptr;
    Attributes attributes;
    for (const Term::Attribute& attribute : wanted.attributes) attributes[attribute.name] = attribute.values;
    if (wanted.op_type == "Shape") {
      const std::optional<std::vector<int64_t>> shape = shape_of(wanted.operands[0]);
      known = shape ? shape_constant(attributes, *shape) : std::nullopt;
    } else {
      std::vector<const Constant*> operands;
      for (const size_t operand : wanted.operands) {
        operands.push_back(evaluate(operand));
        if (operands.back() == nullptr) return nullptr;
      }
      known = flat::evaluate(wanted.op_type, attributes, operands);
    }
    return known ? &*known : nullptr;
  }

  std::optional<std::vector<int64_t>> shape_of(size_t term) {
    const auto input = inputs_.find(term);
    if (input != inputs_.end()) {
      if (const auto view = source_.view(input->second)) return view->shape;
    }
    if (match_.values[term] == kNone) {
      const Constant* constant = evaluate(term);
      return constant != nullptr ? std::optional<std::vector<int64_t>>(constant->shape) : std::nullopt;
    }
    std::vector<int64_t> shape;
    for (const Dim& dim : source_.shape(match_.values[term])) shape.push_back(dim.value);
    return shape.empty() ? std::nullopt : std::optional<std::vector<int64_t>>(shape);
  }

  // Sets an attribute or a parameter; false if it has another value already.
  bool guess(size_t term, Constant value) {
    const Term& unknown = pattern_.terms[term];
    if (unknown.kind == Term::Kind::kInput) {
      const ort::TensorSpec& input = pattern_.spec->inputs[unknown.index];
      const size_t rank = std::strlen(input.shape);
      if (*input.shape != '?' && rank == 1) value.shape = {static_cast<int64_t>(value.values.size())};
      // A sum or product that the graph does without.
      if (*input.shape != '?' && rank > 1 && value.shape.empty()) value.shape.assign(rank, 1);
      if (*input.shape == '?' && value.shape.size() > 1) value.shape = {static_cast<int64_t>(value.values.size())};
      value = cast(value, input.type);
    } else if (value.values.size() == 1) {
      value = {ort::kInt64, {}, value.values};
    } else {
      return false;
    }
    if (known_[term]) return *known_[term] == value;
    known_[term] = std::move(value);
    return true;
  }

  // Walks from a term whose value is given to the only attribute or parameter in it that is not known. True if that is
  // known then.
  bool invert(size_t term, Constant value) {
    const Term& wanted = pattern_.terms[term];
    if (wanted.kind != Term::Kind::kNode) return guess(term, std::move(value));
    std::vector<size_t> unknown;
    for (size_t i = 0; i < wanted.operands.size(); ++i) {
      if (evaluate(wanted.operands[i]) == nullptr) unknown.push_back(i);
    }
    const std::string& op = wanted.op_type;
    if (op == "Mul" && unknown.size() == 2 && wanted.operands[0] == wanted.operands[1]) {
      for (int64_t& x : value.values) x = square_root(x);
      return invert(wanted.operands[0], std::move(value));
    }
    if (op == "Concat") return invert_concat(wanted, unknown, value);
    if (op == "Expand" && evaluate(wanted.operands[0]) == nullptr) return invert_expand(wanted.operands[0], value);
    if (unknown.size() != 1) return false;
    const size_t place = unknown[0];
    const size_t operand = wanted.operands[place];
    if (op == "Cast" || op == "Reshape") {
      return place == 0 && invert(operand, std::move(value));
    }
    if (op == "Neg") {
      for (int64_t& x : value.values) x = static_cast<int64_t>(-static_cast<uint64_t>(x));
      return invert(operand, std::move(value));
    }
    if (op == "Transpose") return invert_transpose(wanted, std::move(value));
    if (wanted.operands.size() != 2) return false;
    const Constant& other = *evaluate(wanted.operands[1 - place]);
    if (op == "Gather") {
      return place == 1 ? invert_table(operand, other, std::move(value)) : invert_gather(operand, other, value);
    }
    if ((op != "Add" && op != "Sub") || other.values.size() != 1) return false;
    const auto c = static_cast<uint64_t>(other.values[0]);
    for (int64_t& x : value.values) {
      const auto y = static_cast<uint64_t>(x);
      x = static_cast<int64_t>(op == "Add" ? y - c : place == 0 ? y + c : c - y);
    }
    return invert(operand, std::move(value));
  }

  // Each of the operands is one number.
  bool invert_concat(const Term& wanted, const std::vector<size_t>& unknown, const Constant& value) {
    if (value.values.size() != wanted.operands.size()) return false;
    bool progress = false;
    for (const size_t place : unknown) {
      if (evaluate(wanted.operands[place]) != nullptr) continue;
      progress = invert(wanted.operands[place], {value.type, {1}, {value.values[place]}}) || progress;
    }
    return progress;
  }

  // A parameter of which there is a copy for each image.
  bool invert_expand(size_t operand, const Constant& value) {
    const Term& unknown = pattern_.terms[operand];
    if (unknown.kind != Term::Kind::kInput) return false;
    const size_t rank = std::strlen(pattern_.spec->inputs[unknown.index].shape);
    if (value.shape.size() < rank) return false;
    Constant one{value.type, {value.shape.end() - static_cast<std::ptrdiff_t>(rank), value.shape.end()}, {}};
    size_t count = 1;
    for (const int64_t dim : one.shape) count *= static_cast<size_t>(dim);
    if (count > value.values.size()) return false;
    one.values.assign(value.values.begin(), value.values.begin() + static_cast<std::ptrdiff_t>(count));
    return invert(operand, std::move(one));
  }

  bool invert_transpose(const Term& wanted, Constant value) {
    const std::vector<int64_t>& perm = wanted.attributes[0].values;
    // A Reshape after it may have split the last axis.
    if (perm.size() == 2 && value.shape.size() > 2 && value.shape[0] > 0) {
      value.shape = {value.shape[0], static_cast<int64_t>(value.values.size()) / value.shape[0]};
    }
    std::vector<int64_t> reverse(perm.size());
    for (size_t axis = 0; axis < perm.size(); ++axis)
      reverse[static_cast<size_t>(perm[axis])] = static_cast<int64_t>(axis);
    std::optional<Constant> before = flat::evaluate("Transpose", {{"perm", reverse}}, {&value});
    return before && invert(wanted.operands[0], *std::move(before));
  }

  // The places of the values in a table.
  bool invert_table(size_t operand, const Constant& table, Constant value) {
    for (int64_t& x : value.values) {
      const auto found = std::find(table.values.begin(), table.values.end(), x);
      if (found == table.values.end()) return false;
      x = found - table.values.begin();
    }
    return invert(operand, std::move(value));
  }

  // The rows from which they were taken.
  bool invert_gather(size_t operand, const Constant& indices, const Constant& value) {
    const size_t count = indices.values.size();
    if (indices.shape.size() != 1 || value.shape.size() != 2 || count == 0) return false;
    if (value.shape[0] != indices.shape[0]) return false;
    const int64_t rows = *std::max_element(indices.values.begin(), indices.values.end()) + 1;
    const int64_t columns = value.shape[1];
    if (rows > indices.shape[0] || *std::min_element(indices.values.begin(), indices.values.end()) < 0) return false;
    Constant table{value.type, {rows, columns}, std::vector<int64_t>(static_cast<size_t>(rows * columns))};
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(value.values.begin() + static_cast<int64_t>(i) * columns, columns,
                  table.values.begin() + indices.values[i] * columns);
    }
    return invert(operand, std::move(table));
  }

  bool is_known(size_t term) { return known_[term].has_value() || inputs_.count(term) > 0; }

  bool all_known() {
    for (size_t i = 0; i < pattern_.spec->inputs.size(); ++i) {
      if (!pattern_.spec->inputs[i].activation && !is_known(pattern_.input(i))) return false;
    }
    for (size_t i = 0; i < pattern_.spec->attributes.size(); ++i) {
      if (!is_known(pattern_.attribute(i))) return false;
    }
    return true;
  }

  // Whether the graph has the constants that the pattern has for what is known.
  bool verify() {
    for (const Match::Equation& equation : match_.equations) {
      if (inputs_.count(equation.term) > 0) {
        // The same parameter may be used twice.
        if (inputs_[equation.term] != equation.value) return false;
        continue;
      }
      const Constant* computed = evaluate(equation.term);
      if (computed == nullptr) return false;
      if (equation.value == kNone) {
        if (computed->values != std::vector<int64_t>{equation.neutral} || computed->shape.size() > 1) return false;
      } else {
        const Constant* found = source_.constant(equation.value);
        if (found == nullptr || !(*found == *computed)) return false;
      }
    }
    return true;
  }

  std::optional<size_t> attribute(const char* name) {
    for (size_t i = 0; i < pattern_.spec->attributes.size(); ++i) {
      if (std::strcmp(pattern_.spec->attributes[i].name, name) == 0) return pattern_.attribute(i);
    }
    return std::nullopt;
  }

  // The sides of the grid and the shift of windows: all that the number of tokens allows, the squarest grid first.
  bool try_grids() {
    const std::optional<size_t> height = attribute("height"), width = attribute("width"), shift = attribute("shift");
    const std::optional<size_t> window = attribute("window");
    const size_t tokens = match_.values[pattern_.input(0)];
    if (!height || !width || is_known(*height) || is_known(*width) || tokens == kNone) return false;
    const std::vector<Dim> shape = source_.shape(tokens);
    if (shape.size() != 3 || shape[1].value < 1) return false;
    if (window && (!is_known(*window) || known_[*window]->values[0] < 1)) return false;
    const int64_t count = shape[1].value;
    const int64_t shifts = window ? known_[*window]->values[0] : 1;
    std::vector<int64_t> sides;
    for (int64_t side = 1; side <= count; ++side) {
      if (count % side == 0) sides.push_back(side);
    }
    std::stable_sort(sides.begin(), sides.end(),
                     [&](int64_t a, int64_t b) { return std::max(a, count / a) < std::max(b, count / b); });
    const std::vector<std::optional<Constant>> before = known_;
    for (const int64_t side : sides) {
      for (int64_t by = 0; by < shifts; ++by) {
        guess(*height, {ort::kInt64, {}, {side}});
        guess(*width, {ort::kInt64, {}, {count / side}});
        if (shift) guess(*shift, {ort::kInt64, {}, {by}});
        if (complete()) return true;
        known_ = before;
      }
    }
    return false;
  }

  bool complete() { return all_known() && verify(); }

  std::optional<Solution> solution() {
    Solution result;
    for (size_t i = 0; i < pattern_.spec->attributes.size(); ++i) {
      result.attributes.push_back(known_[pattern_.attribute(i)]->values[0]);
    }
    for (size_t i = 0; i < pattern_.spec->inputs.size(); ++i) {
      result.views.emplace_back();
      result.computed.emplace_back();
      if (pattern_.spec->inputs[i].activation) continue;
      const size_t term = pattern_.input(i);
      if (inputs_.count(term) == 0) {
        result.computed.back() = known_[term];
      } else if (!(result.views.back() = source_.view(inputs_[term]))) {
        result.computed.back() = *source_.constant(inputs_[term]);
      }
    }
    return result;
  }

  const Match& match_;
  const Source& source_;
  const Pattern& pattern_;
  // Values of terms; of attributes and parameters as they are guessed.
  std::vector<std::optional<Constant>> known_;
  // Parameters that the graph has as they are: its values by term.
  std::map<size_t, size_t> inputs_;
};

}  // namespace

std::optional<Solution> solve(const Match& match, const Source& source) { return Solver(match, source).solve(); }

}  // namespace ivit::ep::flat
