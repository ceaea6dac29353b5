// Shapes as the operators' contracts write them, see shape.h.
#include "ort/shape.h"

#include <cstring>

namespace ivit::ort {

int64_t Dims::rows() const {
  int64_t product = 1;
  for (const int64_t dim : *leading_) product *= dim;
  return product;
}

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
  for (; *pattern != '\0'; ++pattern) {
    if (*pattern == '*') {
      result.insert(result.end(), leading_->begin(), leading_->end());
    } else {
      result.push_back((*this)[*pattern]);
    }
  }
  return result;
}

std::string Dims::describe(const char* pattern) const {
  std::string text = *pattern == '?' ? "[] or [" : "[";
  std::string known;
  const char* separator = "";
  for (; *pattern != '\0'; ++pattern) {
    if (*pattern == '?') continue;
    text += separator;
    separator = ", ";
    if (*pattern == '*') {
      text += leading_ ? format_shape(*leading_).substr(1, format_shape(*leading_).size() - 2) : "..";
      if (leading_ && leading_->empty()) separator = "";
    } else {
      text += *pattern;
      if ((*this)[*pattern] != kUnknown) {
        known += known.empty() ? " with " : ", ";
        known += std::string(1, *pattern) + " = " + std::to_string((*this)[*pattern]);
      }
    }
  }
  return text + "]" + known;
}

std::string format_shape(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape[axis]);
  }
  return text + "]";
}

}  // namespace ivit::ort
