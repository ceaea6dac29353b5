#include "ep/flat/constant.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace ivit::ep::flat {
namespace {

constexpr ONNXTensorElementDataType kBool = ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
// More elements than any table of a vision transformer has.
constexpr int64_t kMostElements = int64_t{1} << 24;

// The number of elements, or -1 if a constant cannot have so many.
int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0 || dim > kMostElements) return -1;
    count *= dim;
    if (count > kMostElements) return -1;
  }
  return count;
}

template <class T>
void widen(const void* data, std::vector<int64_t>& values) {
  const T* from = static_cast<const T*>(data);
  std::copy_n(from, values.size(), values.begin());
}

template <class T>
std::vector<uint8_t> narrow(const std::vector<int64_t>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    const T value = static_cast<T>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

int64_t wrap(int64_t value, ONNXTensorElementDataType type) {
  switch (type) {
    case ort::kInt8:
      return static_cast<int8_t>(value);
    case ort::kUint8:
      return static_cast<uint8_t>(value);
    case ort::kInt16:
      return static_cast<int16_t>(value);
    case ort::kInt32:
      return static_cast<int32_t>(value);
    case kBool:
      return value != 0;
    default:
      return value;
  }
}

std::optional<ONNXTensorElementDataType> type_of(int64_t number) {
  // The numbers of ONNX are those of ONNX Runtime.
  const auto type = static_cast<ONNXTensorElementDataType>(number);
  for (const auto known : {ort::kInt8, ort::kUint8, ort::kInt16, ort::kInt32, ort::kInt64, kBool}) {
    if (type == known) return type;
  }
  return std::nullopt;
}

// One number of an attribute.
std::optional<int64_t> number(const Attributes& attributes, const char* name) {
  const auto found = attributes.find(name);
  if (found == attributes.end() || found->second.size() != 1) return std::nullopt;
  return found->second[0];
}

// An attribute `axis` for a tensor of that rank.
std::optional<size_t> axis_of(const Attributes& attributes, size_t rank) {
  const std::optional<int64_t> axis = number(attributes, "axis");
  const int64_t most = static_cast<int64_t>(rank);
  if (!axis || *axis < -most || *axis >= most) return std::nullopt;
  return static_cast<size_t>(*axis < 0 ? *axis + most : *axis);
}

int64_t product(const std::vector<int64_t>& shape, size_t from, size_t to) {
  int64_t result = 1;
  for (size_t axis = from; axis < to; ++axis) result *= shape[axis];
  return result;
}

using Numbers = std::vector<int64_t>;

// For each element of `shape`, the element of a tensor of shape `from` that stands there when it is broadcast.
std::optional<Numbers> broadcast(const Numbers& from, const Numbers& shape) {
  if (from.size() > shape.size()) return std::nullopt;
  const size_t leading = shape.size() - from.size();
  Numbers steps(shape.size(), 0);
  int64_t step = 1;
  for (size_t axis = from.size(); axis-- > 0;) {
    if (from[axis] != shape[leading + axis] && from[axis] != 1) return std::nullopt;
    steps[leading + axis] = from[axis] == 1 ? 0 : step;
    step *= from[axis];
  }
  Numbers places(static_cast<size_t>(product(shape, 0, shape.size())));
  Numbers at(shape.size(), 0);
  int64_t place = 0;
  for (int64_t& result : places) {
    result = place;
    for (size_t axis = shape.size(); axis-- > 0;) {
      place += steps[axis];
      if (++at[axis] < shape[axis]) break;
      place -= steps[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return places;
}

// The common shape of tensors that are broadcast to each other.
std::optional<Numbers> common_shape(const std::vector<const Constant*>& inputs) {
  Numbers shape;
  for (const Constant* input : inputs) {
    if (input->shape.size() > shape.size()) shape.insert(shape.begin(), input->shape.size() - shape.size(), 1);
    const size_t leading = shape.size() - input->shape.size();
    for (size_t axis = 0; axis < input->shape.size(); ++axis) {
      if (shape[leading + axis] == 1) shape[leading + axis] = input->shape[axis];
    }
  }
  if (count_of(shape) < 0) return std::nullopt;
  return shape;
}

// Sums and products wrap as they do in ONNX Runtime. False where there is no result.
bool apply(const std::string& op_type, int64_t a, int64_t b, int64_t& y) {
  const auto ua = static_cast<uint64_t>(a);
  const auto ub = static_cast<uint64_t>(b);
  const bool divisible = b != 0 && !(a == std::numeric_limits<int64_t>::min() && b == -1);
  if (op_type == "Add") return y = static_cast<int64_t>(ua + ub), true;
  if (op_type == "Sub") return y = static_cast<int64_t>(ua - ub), true;
  if (op_type == "Mul") return y = static_cast<int64_t>(ua * ub), true;
  if (op_type == "Min") return y = std::min(a, b), true;
  if (op_type == "Max") return y = std::max(a, b), true;
  if (op_type == "Less") return y = a < b, true;
  if (op_type == "Greater") return y = a > b, true;
  if (op_type == "Equal") return y = a == b, true;
  if (op_type == "And") return y = a != 0 && b != 0, true;
  if (op_type == "Div" && divisible) return y = a / b, true;
  if (op_type == "Mod" && divisible) {  // takes the sign of the divisor
    y = a % b;
    if (y != 0 && (y < 0) != (b < 0)) y += b;
    return true;
  }
  return false;
}

bool is_comparison(const std::string& op_type) {
  return op_type == "Less" || op_type == "Greater" || op_type == "Equal" || op_type == "And";
}

std::optional<Constant> elementwise(const std::string& op_type, const std::vector<const Constant*>& inputs) {
  const Constant &a = *inputs[0], &b = *inputs[1];
  const std::optional<Numbers> shape = common_shape(inputs);
  if (!shape || a.type != b.type) return std::nullopt;
  const std::optional<Numbers> from_a = broadcast(a.shape, *shape), from_b = broadcast(b.shape, *shape);
  if (!from_a || !from_b) return std::nullopt;
  Constant y{is_comparison(op_type) ? kBool : a.type, *shape, Numbers(from_a->size())};
  for (size_t i = 0; i < y.values.size(); ++i) {
    const int64_t x = a.values[static_cast<size_t>((*from_a)[i])];
    if (!apply(op_type, x, b.values[static_cast<size_t>((*from_b)[i])], y.values[i])) return std::nullopt;
    y.values[i] = wrap(y.values[i], y.type);
  }
  return y;
}

std::optional<Constant> where(const std::vector<const Constant*>& inputs) {
  const std::optional<Numbers> shape = common_shape(inputs);
  if (!shape || inputs[0]->type != kBool || inputs[1]->type != inputs[2]->type) return std::nullopt;
  std::vector<std::optional<Numbers>> from;
  for (const Constant* input : inputs) from.push_back(broadcast(input->shape, *shape));
  if (!from[0] || !from[1] || !from[2]) return std::nullopt;
  Constant y{inputs[1]->type, *shape, Numbers(from[0]->size())};
  for (size_t i = 0; i < y.values.size(); ++i) {
    const size_t chosen = inputs[0]->values[static_cast<size_t>((*from[0])[i])] != 0 ? 1 : 2;
    y.values[i] = inputs[chosen]->values[static_cast<size_t>((*from[chosen])[i])];
  }
  return y;
}

std::optional<Constant> expand(const Constant& x, const Constant& target) {
  const Constant ones{x.type, target.values, {}};
  const std::optional<Numbers> shape = common_shape({&x, &ones});
  if (!shape) return std::nullopt;
  const std::optional<Numbers> from = broadcast(x.shape, *shape);
  if (!from) return std::nullopt;
  Constant y{x.type, *shape, {}};
  for (const int64_t place : *from) y.values.push_back(x.values[static_cast<size_t>(place)]);
  return y;
}

std::optional<Constant> reshape(const Constant& x, const Constant& target) {
  const int64_t count = static_cast<int64_t>(x.values.size());
  Constant y{x.type, target.values, x.values};
  int64_t known = 1;
  int64_t* open = nullptr;
  for (size_t axis = 0; axis < y.shape.size(); ++axis) {
    int64_t& dim = y.shape[axis];
    if (dim == 0 && axis < x.shape.size()) dim = x.shape[axis];
    if (dim == -1 && open == nullptr) {
      open = &dim;
    } else if (dim < 0 || dim > kMostElements || (known *= dim) > kMostElements) {
      return std::nullopt;
    }
  }
  if (open != nullptr) {
    if (known == 0 || count % known != 0) return std::nullopt;
    *open = count / known;
  } else if (known != count) {
    return std::nullopt;
  }
  return y;
}

std::optional<Constant> transpose(const Constant& x, const Numbers& perm) {
  const size_t rank = x.shape.size();
  Numbers sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  for (size_t axis = 0; axis < sorted.size(); ++axis) {
    if (sorted[axis] != static_cast<int64_t>(axis)) return std::nullopt;
  }
  if (perm.size() != rank) return std::nullopt;
  Constant y{x.type, {}, {}};
  Numbers steps;
  for (const int64_t axis : perm) {
    y.shape.push_back(x.shape[static_cast<size_t>(axis)]);
    steps.push_back(product(x.shape, static_cast<size_t>(axis) + 1, rank));
  }
  Numbers at(rank, 0);
  for (size_t i = 0; i < x.values.size(); ++i) {
    int64_t place = 0;
    for (size_t axis = 0; axis < rank; ++axis) place += at[axis] * steps[axis];
    y.values.push_back(x.values[static_cast<size_t>(place)]);
    for (size_t axis = rank; axis-- > 0 && ++at[axis] == y.shape[axis];) at[axis] = 0;
  }
  return y;
}

std::optional<Constant> gather(const Constant& x, const Constant& indices, std::optional<size_t> axis) {
  if (!axis) return std::nullopt;
  const int64_t outer = product(x.shape, 0, *axis), inner = product(x.shape, *axis + 1, x.shape.size());
  Constant y{x.type, x.shape, {}};
  const auto place = y.shape.erase(y.shape.begin() + static_cast<std::ptrdiff_t>(*axis));
  y.shape.insert(place, indices.shape.begin(), indices.shape.end());
  if (count_of(y.shape) < 0) return std::nullopt;
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t index : indices.values) {
      const int64_t row = index < 0 ? index + x.shape[*axis] : index;
      if (row < 0 || row >= x.shape[*axis]) return std::nullopt;
      const auto from = x.values.begin() + (o * x.shape[*axis] + row) * inner;
      y.values.insert(y.values.end(), from, from + inner);
    }
  }
  return y;
}

std::optional<Constant> concat(const std::vector<const Constant*>& inputs, std::optional<size_t> axis) {
  if (!axis) return std::nullopt;
  Constant y{inputs[0]->type, inputs[0]->shape, {}};
  y.shape[*axis] = 0;
  for (const Constant* input : inputs) {
    if (input->shape.size() != y.shape.size() || input->type != y.type) return std::nullopt;
    Numbers same = y.shape;
    same[*axis] = input->shape[*axis];
    if (input->shape != same) return std::nullopt;
    y.shape[*axis] += input->shape[*axis];
  }
  if (count_of(y.shape) < 0) return std::nullopt;
  const int64_t outer = product(y.shape, 0, *axis);
  for (int64_t o = 0; o < outer; ++o) {
    for (const Constant* input : inputs) {
      const int64_t size = product(input->shape, *axis, input->shape.size());
      const auto from = input->values.begin() + o * size;
      y.values.insert(y.values.end(), from, from + size);
    }
  }
  return y;
}

std::optional<Constant> range(const Constant& start, const Constant& limit, const Constant& step) {
  for (const Constant* bound : {&start, &limit, &step}) {
    if (bound->values.size() != 1 || bound->type != ort::kInt64) return std::nullopt;
  }
  if (step.values[0] != 1 || start.values[0] != 0 || limit.values[0] > kMostElements) return std::nullopt;
  Constant y{start.type, {std::max<int64_t>(limit.values[0], 0)}, {}};
  for (int64_t i = 0; i < limit.values[0]; ++i) y.values.push_back(i);
  return y;
}

// The largest element of all, without axes.
std::optional<Constant> reduce_max(const Constant& x, const Attributes& attributes) {
  if (x.values.empty() || number(attributes, "keepdims") != 0) return std::nullopt;
  if (number(attributes, "noop_with_empty_axes") != 0) return std::nullopt;
  return Constant{x.type, {}, {*std::max_element(x.values.begin(), x.values.end())}};
}

}  // namespace

std::optional<Constant> read_constant(const ort::TensorView& tensor) {
  const int64_t count = count_of(tensor.shape);
  if (count < 0) return std::nullopt;
  Constant constant{tensor.type, tensor.shape, Numbers(static_cast<size_t>(count))};
  switch (tensor.type) {
    case ort::kInt8:
      widen<int8_t>(tensor.data, constant.values);
      break;
    case ort::kUint8:
    case kBool:
      widen<uint8_t>(tensor.data, constant.values);
      break;
    case ort::kInt16:
      widen<int16_t>(tensor.data, constant.values);
      break;
    case ort::kInt32:
      widen<int32_t>(tensor.data, constant.values);
      break;
    case ort::kInt64:
      widen<int64_t>(tensor.data, constant.values);
      break;
    default:
      return std::nullopt;
  }
  return constant;
}

std::vector<uint8_t> bytes_of(const Constant& constant) {
  switch (constant.type) {
    case ort::kInt64:
      return narrow<int64_t>(constant.values);
    case ort::kInt32:
      return narrow<int32_t>(constant.values);
    case ort::kInt16:
      return narrow<int16_t>(constant.values);
    default:
      return narrow<uint8_t>(constant.values);
  }
}

Constant cast(const Constant& x, ONNXTensorElementDataType type) {
  Constant y{type, x.shape, x.values};
  for (int64_t& value : y.values) value = wrap(value, type);
  return y;
}

std::optional<Constant> shape_constant(const Attributes& attributes, const std::vector<int64_t>& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](const char* name, int64_t standard) {
    const int64_t given = number(attributes, name).value_or(standard);
    return std::clamp<int64_t>(given < 0 ? given + rank : given, 0, rank);
  };
  const int64_t start = bound("start", 0), end = std::max(start, bound("end", rank));
  Constant y{ort::kInt64, {end - start}, Numbers(shape.begin() + start, shape.begin() + end)};
  if (std::find(y.values.begin(), y.values.end(), -1) != y.values.end()) return std::nullopt;
  return y;
}

std::optional<Constant> evaluate(const std::string& op_type, const Attributes& attributes,
                                 const std::vector<const Constant*>& inputs) {
  const size_t count = inputs.size();
  if (op_type == "Concat" && count > 0) return concat(inputs, axis_of(attributes, inputs[0]->shape.size()));
  if (op_type == "Range" && count == 3) return range(*inputs[0], *inputs[1], *inputs[2]);
  if (op_type == "Where" && count == 3) return where(inputs);
  if (count == 1) {
    const Constant& x = *inputs[0];
    if (op_type == "Cast") {
      const std::optional<int64_t> to = number(attributes, "to");
      const auto type = to ? type_of(*to) : std::nullopt;
      return type ? std::optional<Constant>(cast(x, *type)) : std::nullopt;
    }
    if (op_type == "Neg") {
      const Constant zero{x.type, {}, {0}};
      return elementwise("Sub", {&zero, &x});
    }
    if (op_type == "ReduceMax") return reduce_max(x, attributes);
    if (op_type == "Transpose" && attributes.count("perm") > 0) return transpose(x, attributes.at("perm"));
    return std::nullopt;
  }
  if (count != 2) return std::nullopt;
  if (op_type == "Gather") return gather(*inputs[0], *inputs[1], axis_of(attributes, inputs[0]->shape.size()));
  if (op_type == "Reshape" && number(attributes, "allowzero") == 0) return reshape(*inputs[0], *inputs[1]);
  if (op_type == "Expand") return expand(*inputs[0], *inputs[1]);
  return elementwise(op_type, inputs);
}

}  // namespace ivit::ep::flat
