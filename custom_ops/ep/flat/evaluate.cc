#include "ep/flat/evaluate.h"

#include <algorithm>
#include <array>

#include "ep/flat/broadcast.h"

namespace ivit::ep::flat {
namespace {

using Inputs = std::vector<const Constant*>;

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

int64_t product(const Numbers& shape, size_t from, size_t to) {
  int64_t result = 1;
  for (size_t axis = from; axis < to; ++axis) result *= shape[axis];
  return result;
}

std::optional<ONNXTensorElementDataType> type_of(int64_t number) {
  // The numbers of ONNX are those of ONNX Runtime.
  const auto type = static_cast<ONNXTensorElementDataType>(number);
  for (const auto known : {ort::kInt8, ort::kUint8, ort::kInt16, ort::kInt32, ort::kInt64, kBool}) {
    if (type == known) return type;
  }
  return std::nullopt;
}

std::optional<Constant> reshape(const Attributes& attributes, const Inputs& inputs) {
  const Constant &x = *inputs[0], &target = *inputs[1];
  if (number(attributes, "allowzero") != 0 || target.shape.size() != 1) return std::nullopt;
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

std::optional<Constant> transpose(const Attributes& attributes, const Inputs& inputs) {
  if (attributes.count("perm") == 0) return std::nullopt;
  const Constant& x = *inputs[0];
  const Numbers& perm = attributes.at("perm");
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

std::optional<Constant> gather(const Attributes& attributes, const Inputs& inputs) {
  const Constant &x = *inputs[0], &indices = *inputs[1];
  const std::optional<size_t> axis = axis_of(attributes, x.shape.size());
  if (!axis) return std::nullopt;
  const int64_t outer = product(x.shape, 0, *axis), inner = product(x.shape, *axis + 1, x.shape.size());
  Constant y{x.type, x.shape, {}};
  const auto place = y.shape.erase(y.shape.begin() + static_cast<std::ptrdiff_t>(*axis));
  y.shape.insert(place, indices.shape.begin(), indices.shape.end());
  if (element_count(y.shape) < 0) return std::nullopt;
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

std::optional<Constant> concat(const Attributes& attributes, const Inputs& inputs) {
  if (inputs.empty()) return std::nullopt;
  const std::optional<size_t> axis = axis_of(attributes, inputs[0]->shape.size());
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
  if (element_count(y.shape) < 0) return std::nullopt;
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

// From 0 by one.
std::optional<Constant> range(const Attributes&, const Inputs& inputs) {
  for (const Constant* bound : inputs) {
    if (bound->values.size() != 1 || bound->type != ort::kInt64) return std::nullopt;
  }
  const int64_t start = inputs[0]->values[0], limit = inputs[1]->values[0], step = inputs[2]->values[0];
  if (step != 1 || start != 0 || limit > kMostElements) return std::nullopt;
  Constant y{ort::kInt64, {std::max<int64_t>(limit, 0)}, {}};
  for (int64_t i = 0; i < limit; ++i) y.values.push_back(i);
  return y;
}

// The largest element of all, without axes.
std::optional<Constant> reduce_max(const Attributes& attributes, const Inputs& inputs) {
  const Constant& x = *inputs[0];
  if (x.values.empty() || number(attributes, "keepdims") != 0) return std::nullopt;
  if (number(attributes, "noop_with_empty_axes") != 0) return std::nullopt;
  return Constant{x.type, {}, {*std::max_element(x.values.begin(), x.values.end())}};
}

std::optional<Constant> cast_to(const Attributes& attributes, const Inputs& inputs) {
  const std::optional<int64_t> to = number(attributes, "to");
  const std::optional<ONNXTensorElementDataType> type = to ? type_of(*to) : std::nullopt;
  return type ? std::optional<Constant>(cast(*inputs[0], *type)) : std::nullopt;
}

std::optional<Constant> size_of(const Attributes&, const Inputs& inputs) {
  return Constant{ort::kInt64, {}, {static_cast<int64_t>(inputs[0]->values.size())}};
}

std::optional<Constant> negate(const Attributes&, const Inputs& inputs) {
  return elementwise("Sub", {inputs[0]->type, {}, {0}}, *inputs[0]);
}

std::optional<Constant> select(const Attributes&, const Inputs& inputs) {
  return where(*inputs[0], *inputs[1], *inputs[2]);
}

std::optional<Constant> expand_to(const Attributes&, const Inputs& inputs) { return expand(*inputs[0], *inputs[1]); }

constexpr size_t kAnyNumber = static_cast<size_t>(-1);

struct Operator {
  const char* op_type;
  size_t inputs;
  std::optional<Constant> (*evaluate)(const Attributes& attributes, const Inputs& inputs);
};

// All but the elementwise ones with two inputs.
constexpr std::array kOperators = {
    Operator{"Cast", 1, cast_to},         Operator{"Concat", kAnyNumber, concat},
    Operator{"Expand", 2, expand_to},     Operator{"Gather", 2, gather},
    Operator{"Neg", 1, negate},           Operator{"Range", 3, range},
    Operator{"ReduceMax", 1, reduce_max}, Operator{"Reshape", 2, reshape},
    Operator{"Size", 1, size_of},         Operator{"Transpose", 1, transpose},
    Operator{"Where", 3, select},
};

}  // namespace

std::optional<Constant> shape_constant(const Attributes& attributes, const Numbers& shape) {
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

std::optional<Constant> evaluate(const std::string& op_type, const Attributes& attributes, const Inputs& inputs) {
  for (const Operator& known : kOperators) {
    if (op_type != known.op_type) continue;
    const bool fits = known.inputs == kAnyNumber || known.inputs == inputs.size();
    return fits ? known.evaluate(attributes, inputs) : std::nullopt;
  }
  return inputs.size() == 2 ? elementwise(op_type, *inputs[0], *inputs[1]) : std::nullopt;
}

}  // namespace ivit::ep::flat
