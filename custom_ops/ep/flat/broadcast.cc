#include "ep/flat/broadcast.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>

namespace ivit::ep::flat {
namespace {

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
  Numbers places(static_cast<size_t>(element_count(shape)));
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
std::optional<Numbers> common_shape(std::initializer_list<const Constant*> inputs) {
  Numbers shape;
  for (const Constant* input : inputs) {
    if (input->shape.size() > shape.size()) shape.insert(shape.begin(), input->shape.size() - shape.size(), 1);
    const size_t leading = shape.size() - input->shape.size();
    for (size_t axis = 0; axis < input->shape.size(); ++axis) {
      if (shape[leading + axis] == 1) shape[leading + axis] = input->shape[axis];
    }
  }
  if (element_count(shape) < 0) return std::nullopt;
  return shape;
}

using Number = std::optional<int64_t>;

Number add(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
Number sub(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b)); }
Number mul(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); }
Number min(int64_t a, int64_t b) { return std::min(a, b); }
Number max(int64_t a, int64_t b) { return std::max(a, b); }
Number less(int64_t a, int64_t b) { return a < b; }
Number greater(int64_t a, int64_t b) { return a > b; }
Number equal(int64_t a, int64_t b) { return a == b; }
Number both(int64_t a, int64_t b) { return a != 0 && b != 0; }

bool divisible(int64_t a, int64_t b) { return b != 0 && !(a == std::numeric_limits<int64_t>::min() && b == -1); }

Number div(int64_t a, int64_t b) { return divisible(a, b) ? Number(a / b) : std::nullopt; }

// Takes the sign of the divisor.
Number mod(int64_t a, int64_t b) {
  if (!divisible(a, b)) return std::nullopt;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

struct Elementwise {
  const char* op_type;
  Number (*apply)(int64_t a, int64_t b);
  // Whether the result is a truth value; otherwise it is of the inputs' type.
  bool truth = false;
};

constexpr std::array kElementwise = {
    Elementwise{"Add", add},           Elementwise{"Sub", sub},         Elementwise{"Mul", mul},
    Elementwise{"Div", div},           Elementwise{"Mod", mod},         Elementwise{"Min", min},
    Elementwise{"Max", max},           Elementwise{"Less", less, true}, Elementwise{"Greater", greater, true},
    Elementwise{"Equal", equal, true}, Elementwise{"And", both, true},
};

int64_t at(const Constant& x, int64_t place) { return x.values[static_cast<size_t>(place)]; }

}  // namespace

std::optional<Constant> elementwise(const std::string& op_type, const Constant& a, const Constant& b) {
  const auto found = std::find_if(kElementwise.begin(), kElementwise.end(),
                                  [&](const Elementwise& known) { return op_type == known.op_type; });
  const std::optional<Numbers> shape = common_shape({&a, &b});
  if (found == kElementwise.end() || !shape || a.type != b.type) return std::nullopt;
  const std::optional<Numbers> from_a = broadcast(a.shape, *shape), from_b = broadcast(b.shape, *shape);
  if (!from_a || !from_b) return std::nullopt;
  Constant y{found->truth ? kBool : a.type, *shape, Numbers(from_a->size())};
  for (size_t i = 0; i < y.values.size(); ++i) {
    const Number result = found->apply(at(a, (*from_a)[i]), at(b, (*from_b)[i]));
    if (!result) return std::nullopt;
    y.values[i] = wrap(*result, y.type);
  }
  return y;
}

std::optional<Constant> where(const Constant& condition, const Constant& yes, const Constant& no) {
  const std::optional<Numbers> shape = common_shape({&condition, &yes, &no});
  if (!shape || condition.type != kBool || yes.type != no.type) return std::nullopt;
  const std::optional<Numbers> from_condition = broadcast(condition.shape, *shape);
  const std::optional<Numbers> from_yes = broadcast(yes.shape, *shape), from_no = broadcast(no.shape, *shape);
  if (!from_condition || !from_yes || !from_no) return std::nullopt;
  Constant y{yes.type, *shape, Numbers(from_condition->size())};
  for (size_t i = 0; i < y.values.size(); ++i) {
    y.values[i] = at(condition, (*from_condition)[i]) != 0 ? at(yes, (*from_yes)[i]) : at(no, (*from_no)[i]);
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
  for (const int64_t place : *from) y.values.push_back(at(x, place));
  return y;
}

}  // namespace ivit::ep::flat
