// From a graph to operators of the domain: those that are there, and those that standard operators amount to.
#pragma once

#include <string>
#include <vector>

#include "ep/flat/source.h"
#include "ort/operator.h"

namespace ivit::ep::flat {

// What a step of a plan is made of.
struct Operation {
  std::string name;
  ort::Call call;
  // By the operator's inputs; those that are no activations have none.
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  // Parameters that the call refers to and the graph does not have as they are.
  std::vector<std::vector<uint8_t>> parameters;
  // The nodes of the graph that it stands for.
  std::vector<size_t> nodes;
};

struct Cover {
  // In an order in which they can run.
  std::vector<Operation> operations;
  // By node: whether it belongs to an operation.
  std::vector<bool> taken;
  // By node: why not.
  std::vector<std::string> reasons;
};

// The values that are read outside of the nodes are `outputs`. With `raise`, standard operators are taken together.
// Operations stand for nodes that are taken without others between them.
Cover cover(const Source& source, const std::vector<std::string>& outputs, bool raise = true);

}  // namespace ivit::ep::flat
