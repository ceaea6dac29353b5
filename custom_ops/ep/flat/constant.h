// Constants of a graph as integers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ort/binding.h"

namespace ivit::ep::flat {

using Numbers = std::vector<int64_t>;

constexpr ONNXTensorElementDataType kBool = ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
// More elements than any table of a vision transformer has.
constexpr int64_t kMostElements = int64_t{1} << 24;

struct Constant {
  ONNXTensorElementDataType type = ort::kInt64;
  Numbers shape;
  Numbers values;

  bool operator==(const Constant& other) const {
    return type == other.type && shape == other.shape && values == other.values;
  }
};

// The number of elements, or -1 if a constant cannot have so many.
int64_t element_count(const Numbers& shape);

// Nothing if it is no tensor of integers or booleans, or too large to be worth it.
std::optional<Constant> read_constant(const ort::TensorView& tensor);

// The constant as a tensor in memory.
std::vector<uint8_t> bytes_of(const Constant& constant);

// A number as the type has it.
int64_t wrap(int64_t value, ONNXTensorElementDataType type);

// The same values in another type, wrapped to its range.
Constant cast(const Constant& x, ONNXTensorElementDataType type);

}  // namespace ivit::ep::flat
