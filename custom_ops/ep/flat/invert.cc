#include "ep/flat/invert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace ivit::ep::flat {
namespace {

// A node whose value is given, and which of its operands are not known.
struct Step {
  const Term& node;
  std::vector<size_t> unknown;

  bool only_unknown(size_t place) const { return unknown.size() == 1 && unknown[0] == place; }
};

// The root of a square; of another number it is no matter, for what follows is checked.
int64_t square_root(int64_t square) {
  int64_t root = 0;
  for (int64_t bit = int64_t{1} << 30; bit > 0; bit /= 2) {
    if ((root + bit) * (root + bit) <= square) root += bit;
  }
  return root;
}

int64_t sum(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }

int64_t difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

// An operator that changes the type or the shape only; where it matters, the shape follows from the parameter's.
bool invert_view(Terms& terms, const Step& step, Constant value) {
  return step.only_unknown(0) && invert(terms, step.node.operands[0], std::move(value));
}

bool invert_negation(Terms& terms, const Step& step, Constant value) {
  if (!step.only_unknown(0)) return false;
  for (int64_t& x : value.values) x = difference(0, x);
  return invert(terms, step.node.operands[0], std::move(value));
}

bool invert_square(Terms& terms, const Step& step, Constant value) {
  if (step.unknown.size() != 2 || step.node.operands[0] != step.node.operands[1]) return false;
  for (int64_t& x : value.values) x = square_root(x);
  return invert(terms, step.node.operands[0], std::move(value));
}

// y = a + c or y = c + a, with one number c.
bool invert_sum(Terms& terms, const Step& step, Constant value) {
  if (step.unknown.size() != 1) return false;
  const size_t place = step.unknown[0];
  const Constant& c = *terms.evaluate(step.node.operands[1 - place]);
  if (c.values.size() != 1) return false;
  for (int64_t& y : value.values) y = difference(y, c.values[0]);
  return invert(terms, step.node.operands[place], std::move(value));
}

// y = a - c or y = c - a, with one number c.
bool invert_difference(Terms& terms, const Step& step, Constant value) {
  if (step.unknown.size() != 1) return false;
  const size_t place = step.unknown[0];
  const Constant& c = *terms.evaluate(step.node.operands[1 - place]);
  if (c.values.size() != 1) return false;
  for (int64_t& y : value.values) y = place == 0 ? sum(y, c.values[0]) : difference(c.values[0], y);
  return invert(terms, step.node.operands[place], std::move(value));
}

// Each of the operands is one number.
bool invert_concat(Terms& terms, const Step& step, Constant value) {
  const std::vector<size_t>& operands = step.node.operands;
  if (value.values.size() != operands.size()) return false;
  bool progress = false;
  for (const size_t place : step.unknown) {
    if (terms.evaluate(operands[place]) != nullptr) continue;
    progress = invert(terms, operands[place], {value.type, {1}, {value.values[place]}}) || progress;
  }
  return progress;
}

// A parameter of which there is a copy for each image.
bool invert_expand(Terms& terms, const Step& step, Constant value) {
  const size_t operand = step.node.operands[0];
  const Pattern& pattern = terms.pattern();
  const Term& unknown = pattern.terms[operand];
  if (terms.evaluate(operand) != nullptr || unknown.kind != Term::Kind::kInput) return false;
  const size_t rank = std::strlen(pattern.spec->inputs[unknown.index].shape);
  if (value.shape.size() < rank) return false;
  Constant one{value.type, {value.shape.end() - static_cast<std::ptrdiff_t>(rank), value.shape.end()}, {}};
  size_t count = 1;
  for (const int64_t dim : one.shape) count *= static_cast<size_t>(dim);
  if (count > value.values.size()) return false;
  one.values.assign(value.values.begin(), value.values.begin() + static_cast<std::ptrdiff_t>(count));
  return invert(terms, operand, std::move(one));
}

bool invert_transpose(Terms& terms, const Step& step, Constant value) {
  if (!step.only_unknown(0)) return false;
  const Numbers& perm = step.node.attributes[0].values;
  // A Reshape after it may have split the last axis.
  if (perm.size() == 2 && value.shape.size() > 2 && value.shape[0] > 0) {
    value.shape = {value.shape[0], static_cast<int64_t>(value.values.size()) / value.shape[0]};
  }
  Numbers reverse(perm.size());
  for (size_t axis = 0; axis < perm.size(); ++axis) {
    reverse[static_cast<size_t>(perm[axis])] = static_cast<int64_t>(axis);
  }
  std::optional<Constant> before = evaluate("Transpose", {{"perm", reverse}}, {&value});
  return before && invert(terms, step.node.operands[0], *std::move(before));
}

// The places of the values in a table.
bool invert_places(Terms& terms, size_t operand, const Constant& table, Constant value) {
  for (int64_t& x : value.values) {
    const auto found = std::find(table.values.begin(), table.values.end(), x);
    if (found == table.values.end()) return false;
    x = found - table.values.begin();
  }
  return invert(terms, operand, std::move(value));
}

// The rows from which they were taken.
bool invert_rows(Terms& terms, size_t operand, const Constant& indices, const Constant& value) {
  const size_t count = indices.values.size();
  if (indices.shape.size() != 1 || value.shape.size() != 2 || count == 0) return false;
  if (value.shape[0] != indices.shape[0]) return false;
  const int64_t rows = *std::max_element(indices.values.begin(), indices.values.end()) + 1;
  const int64_t columns = value.shape[1];
  if (rows > indices.shape[0] || *std::min_element(indices.values.begin(), indices.values.end()) < 0) return false;
  Constant table{value.type, {rows, columns}, Numbers(static_cast<size_t>(rows * columns))};
  for (size_t i = 0; i < count; ++i) {
    std::copy_n(value.values.begin() + static_cast<int64_t>(i) * columns, columns,
                table.values.begin() + indices.values[i] * columns);
  }
  return invert(terms, operand, std::move(table));
}

bool invert_gather(Terms& terms, const Step& step, Constant value) {
  const std::vector<size_t>& operands = step.node.operands;
  if (step.only_unknown(1)) return invert_places(terms, operands[1], *terms.evaluate(operands[0]), std::move(value));
  return step.only_unknown(0) && invert_rows(terms, operands[0], *terms.evaluate(operands[1]), value);
}

struct Inverse {
  const char* op_type;
  bool (*invert)(Terms& terms, const Step& step, Constant value);
};

constexpr std::array kInverses = {
    Inverse{"Add", invert_sum},        Inverse{"Cast", invert_view},
    Inverse{"Concat", invert_concat},  Inverse{"Expand", invert_expand},
    Inverse{"Gather", invert_gather},  Inverse{"Mul", invert_square},
    Inverse{"Neg", invert_negation},   Inverse{"Reshape", invert_view},
    Inverse{"Sub", invert_difference}, Inverse{"Transpose", invert_transpose},
};

}  // namespace

bool invert(Terms& terms, size_t term, Constant value) {
  const Term& wanted = terms.pattern().terms[term];
  if (wanted.kind != Term::Kind::kNode) return terms.guess(term, std::move(value));
  const auto inverse = std::find_if(kInverses.begin(), kInverses.end(),
                                    [&](const Inverse& known) { return wanted.op_type == known.op_type; });
  if (inverse == kInverses.end()) return false;
  Step step{wanted, {}};
  for (size_t i = 0; i < wanted.operands.size(); ++i) {
    if (terms.evaluate(wanted.operands[i]) == nullptr) step.unknown.push_back(i);
  }
  return inverse->invert(terms, step, std::move(value));
}

}  // namespace ivit::ep::flat
