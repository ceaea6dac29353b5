// The operators of the domain as the standard operators that they are in a file written with --flat.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ep/flat/constant.h"
#include "ort/operator.h"

namespace ivit::ep::flat {

// A value of a pattern.
struct Term {
  enum class Kind { kInput, kAttribute, kConstant, kNode };
  // What it is computed from, beside parameters, attributes and constants.
  enum class Needs { kNothing, kShapes, kActivations };

  struct Attribute {
    std::string name;
    std::vector<int64_t> values;
    // The attribute of the operator that it takes its value from, or -1.
    int from = -1;
  };

  Kind kind;
  Needs needs;
  // Number of the operator's input or attribute.
  size_t index = 0;
  Constant constant;
  // Of a node:
  std::string domain;
  std::string op_type;
  std::vector<size_t> operands;
  std::vector<Attribute> attributes;
};

struct Pattern {
  const ort::OperatorSpec* spec;
  // Operands before the nodes that use them; the inputs of the operator first, then its attributes.
  std::vector<Term> terms;
  std::vector<size_t> outputs;

  size_t input(size_t index) const { return index; }
  size_t attribute(size_t index) const { return spec->inputs.size() + index; }
};

// All patterns, large ones first.
const std::vector<Pattern>& patterns();

}  // namespace ivit::ep::flat
