// Shapes as contracts write them, see shape.h.
#include "ort/shape.h"

#include <algorithm>
#include <cstring>

#include "ort/status.h"

namespace ivit::ort {
namespace {

template <class Operation>
Extent combine(Extent a, Extent b, Operation operation) {
  return a.known() && b.known() ? Extent(operation(a.value, b.value)) : Extent(Dims::kUnknown);
}

}  // namespace

int64_t Dims::rows() const { return element_count(*leading_); }

bool Dims::bind(const char* pattern, const std::vector<int64_t>& shape) {
  if (*pattern == '?') {
    if (shape.empty()) return true;
    ++pattern;
  }
  Dims bound = *this;
  size_t axis = 0;
  if (*pattern == '*') {
    ++pattern;
    if (shape.size() < std::strlen(pattern)) return false;
    axis = shape.size() - std::strlen(pattern);
    const std::vector<int64_t> leading(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
    if (leading_ && *leading_ != leading) return false;
    bound.leading_ = leading;
  }
  if (shape.size() - axis != std::strlen(pattern)) return false;
  for (; *pattern != '\0'; ++pattern, ++axis) {
    int64_t& value = bound[*pattern];
    if (value != kUnknown && value != shape[axis]) return false;
    value = shape[axis];
  }
  *this = bound;
  return true;
}

std::vector<int64_t> Dims::shape(const char* pattern) const {
  std::vector<int64_t> result;
  if (*pattern == '?') ++pattern;
  for (; *pattern != '\0'; ++pattern) {
    if (*pattern != '*') {
      result.push_back((*this)[*pattern]);
    } else if (leading_) {
      result.insert(result.end(), leading_->begin(), leading_->end());
    } else {
      result.push_back(kUnknown);
    }
  }
  return result;
}

int64_t checked_product(int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product))
    throw InvalidArgument("ivit: dimensions: expected fewer than 2^63 elements");
  return product;
}

int64_t checked_sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) throw InvalidArgument("ivit: dimensions: expected fewer than 2^63 elements");
  return sum;
}

Extent operator+(Extent a, Extent b) { return combine(a, b, checked_sum); }
Extent operator-(Extent a, Extent b) {
  return combine(a, b, [](int64_t x, int64_t y) { return checked_sum(x, -y); });
}
Extent operator*(Extent a, Extent b) { return combine(a, b, checked_product); }
Extent operator/(Extent a, Extent b) {
  return combine(a, b, [](int64_t x, int64_t y) { return x / y; });
}
Extent divide_up(Extent a, Extent b) {
  return combine(a, b, [](int64_t x, int64_t y) { return x / y + (x % y == 0 ? 0 : 1); });
}

int64_t element_count(const std::vector<int64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t dim : shape) count = checked_product(count, dim);
  return count;
}

std::string format_shape(const std::vector<int64_t>& shape) {
  std::vector<std::string> axes;
  for (const int64_t dim : shape) axes.push_back(std::to_string(dim));
  return join_axes(axes);
}

std::string join_axes(const std::vector<std::string>& axes) {
  std::string text;
  for (const std::string& axis : axes) text += (text.empty() ? "" : ", ") + axis;
  return "[" + text + "]";
}

}  // namespace ivit::ort
