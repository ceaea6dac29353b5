// Shapes as the operators' contracts write them: a pattern of one-letter dimensions, and the values bound to them.
//
//   "NTC"  exactly these dimensions          "*C"  any dimensions, the same wherever "*" stands, then C
//   ""     a scalar                          "?C"  a scalar, or exactly these dimensions
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ivit::ort {

// What the letters of the patterns of one operator stand for in one call.
class Dims {
 public:
  static constexpr int64_t kUnknown = -1;

  // V is known: the values of a byte, the length of every table.
  Dims() {
    values_.fill(kUnknown);
    (*this)['V'] = 256;
  }

  int64_t operator[](char letter) const { return values_[letter - 'A']; }
  int64_t& operator[](char letter) { return values_[letter - 'A']; }

  // Product of the dimensions under "*".
  int64_t rows() const;

  // Binds the pattern's letters to `shape`; false, with nothing bound, if they do not agree.
  bool bind(const char* pattern, const std::vector<int64_t>& shape);

  // The shape of a pattern whose letters are all bound.
  std::vector<int64_t> shape(const char* pattern) const;

  // The pattern and the values known so far, for messages: "[.., C] with C = 64".
  std::string describe(const char* pattern) const;

 private:
  std::array<int64_t, 26> values_;
  std::optional<std::vector<int64_t>> leading_;
};

// Throw InvalidArgument where the result does not fit int64: dimensions of tensors without elements may be that large.
int64_t checked_product(int64_t a, int64_t b);
int64_t checked_sum(int64_t a, int64_t b);

// The product of the dimensions, 0 if one is 0. Throws InvalidArgument as above.
int64_t element_count(const std::vector<int64_t>& shape);

// "[2, 3]"
std::string format_shape(const std::vector<int64_t>& shape);

}  // namespace ivit::ort
