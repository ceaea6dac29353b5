#include "ep/flat/terms.h"

#include <cstring>
#include <utility>

namespace ivit::ep::flat {
namespace {

// The dimension of an axis that has the same in all calls; otherwise Dims::kUnknown.
int64_t fixed_dim(const ort::OperatorSpec& spec, char axis) {
  if (!ort::Dims::is_form(axis)) return ort::Dims::kUnknown;
  const ort::Form& form = spec.forms[static_cast<size_t>(axis - ort::Dims::kFirstForm)];
  return form.value({}, ort::Attributes(spec.attributes.size(), ort::Dims::kUnknown)).value;
}

}  // namespace

Terms::Terms(const Match& match, const Source& source)
    : match_(match), source_(source), pattern_(*match.pattern), known_(match.pattern->terms.size()) {
  for (const Match::Equation& equation : match_.equations) {
    const bool input = pattern_.terms[equation.term].kind == Term::Kind::kInput;
    if (input && equation.value != Source::kNone) inputs_[equation.term] = equation.value;
  }
}

bool Terms::is_known(size_t term) const { return known_[term].has_value() || is_of_graph(term); }

bool Terms::all_known() const {
  for (size_t i = 0; i < pattern_.spec->inputs.size(); ++i) {
    if (!pattern_.spec->inputs[i].is_activation() && !is_known(pattern_.input(i))) return false;
  }
  for (size_t i = 0; i < pattern_.spec->attributes.size(); ++i) {
    if (!is_known(pattern_.attribute(i))) return false;
  }
  return true;
}

const Constant* Terms::evaluate(size_t term) {
  std::optional<Constant>& known = known_[term];
  if (known) return &*known;
  const Term& wanted = pattern_.terms[term];
  if (wanted.kind == Term::Kind::kConstant) return &(known = wanted.constant).value();
  if (is_of_graph(term)) return source_.constant(inputs_.at(term));
  if (wanted.kind != Term::Kind::kNode || wanted.needs == Term::Needs::kActivations) return nullptr;
  Attributes attributes;
  for (const Term::Attribute& attribute : wanted.attributes) attributes[attribute.name] = attribute.values;
  if (wanted.op_type == "Shape") {
    const std::optional<Numbers> shape = shape_of(wanted.operands[0]);
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

std::optional<Numbers> Terms::shape_of(size_t term) {
  const auto input = inputs_.find(term);
  if (input != inputs_.end()) {
    if (const auto view = source_.view(input->second)) return view->shape;
  }
  if (match_.values[term] == Source::kNone) {
    const Constant* constant = evaluate(term);
    return constant != nullptr ? std::optional<Numbers>(constant->shape) : std::nullopt;
  }
  Numbers shape;
  for (const Dim& dim : source_.shape(match_.values[term])) shape.push_back(dim.value);
  return shape.empty() ? std::nullopt : std::optional<Numbers>(shape);
}

bool Terms::guess(size_t term, Constant value) {
  const Term& unknown = pattern_.terms[term];
  if (unknown.kind == Term::Kind::kInput) {
    const ort::TensorSpec& input = pattern_.spec->inputs[unknown.index];
    const size_t rank = std::strlen(input.shape);
    if (*input.shape != '?' && rank == 1) value.shape = {static_cast<int64_t>(value.values.size())};
    // A sum or product that the graph does without.
    if (*input.shape != '?' && rank > 1 && value.shape.empty()) value.shape.assign(rank, 1);
    // Rows that a Reshape has put together.
    if (*input.shape != '?' && rank == 2 && value.shape.size() == 1) {
      const int64_t columns = fixed_dim(*pattern_.spec, input.shape[1]);
      if (columns > 0 && value.shape[0] % columns == 0) value.shape = {value.shape[0] / columns, columns};
    }
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

bool Terms::verify() {
  for (const Match::Equation& equation : match_.equations) {
    if (is_of_graph(equation.term)) {
      // The same parameter may be used twice.
      if (inputs_.at(equation.term) != equation.value) return false;
      continue;
    }
    const Constant* computed = evaluate(equation.term);
    if (computed == nullptr) return false;
    if (equation.value == Source::kNone) {
      if (computed->values != Numbers{equation.neutral} || computed->shape.size() > 1) return false;
    } else {
      const Constant* found = source_.constant(equation.value);
      if (found == nullptr || !(*found == *computed)) return false;
    }
  }
  return true;
}

}  // namespace ivit::ep::flat
