// Constants of a graph as integers, and what standard operators make of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ort/binding.h"

namespace ivit::ep::flat {

struct Constant {
  ONNXTensorElementDataType type = ort::kInt64;
  std::vector<int64_t> shape;
  std::vector<int64_t> values;

  bool operator==(const Constant& other) const {
    return type == other.type && shape == other.shape && values == other.values;
  }
};

using Attributes = std::map<std::string, std::vector<int64_t>>;

// Nothing if it is no tensor of integers or booleans, or too large to be worth it.
std::optional<Constant> read_constant(const ort::TensorView& tensor);

// The constant as a tensor in memory.
std::vector<uint8_t> bytes_of(const Constant& constant);

// The same values in another type, wrapped to its range.
Constant cast(const Constant& x, ONNXTensorElementDataType type);

// The result of a standard operator with all its attributes. Nothing if the operator is not one of those that function
// bodies apply to constants, or the inputs do not fit.
std::optional<Constant> evaluate(const std::string& op_type, const Attributes& attributes,
                                 const std::vector<const Constant*>& inputs);

// The result of Shape. Nothing if a dimension of it is unknown (-1).
std::optional<Constant> shape_constant(const Attributes& attributes, const std::vector<int64_t>& shape);

}  // namespace ivit::ep::flat
