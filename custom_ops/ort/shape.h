// Shapes as contracts write them: a pattern of one-character dimensions, and the values bound to them.
//
//   "NTC"  exactly these dimensions          "*C"  any dimensions, the same wherever "*" stands, then C
//   ""     a scalar                          "?C"  a scalar, or exactly these dimensions
//
// A capital letter is a dimension of its own. A small one is a form, 'a' the first of the operator's: a number, or what
// is computed from letters and attributes (see contract.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ivit::ort {

// What the characters of the patterns of one operator stand for in one call.
class Dims {
 public:
  static constexpr int64_t kUnknown = -1;
  static constexpr char kFirstForm = 'a';
  static constexpr size_t kMostForms = 8;

  Dims() { values_.fill(kUnknown); }

  static constexpr bool is_form(char axis) { return axis >= kFirstForm; }
  static constexpr char form(size_t index) { return static_cast<char>(kFirstForm + index); }

  int64_t operator[](char axis) const { return values_[place(axis)]; }
  int64_t& operator[](char axis) { return values_[place(axis)]; }

  // The dimensions under "*", if they are known.
  const std::optional<std::vector<int64_t>>& leading() const { return leading_; }
  // Their product.
  int64_t rows() const;

  // Binds the pattern to `shape`; false, with nothing bound, if they do not agree.
  bool bind(const char* pattern, const std::vector<int64_t>& shape);

  // The shape of a pattern, kUnknown where it is not bound.
  std::vector<int64_t> shape(const char* pattern) const;

 private:
  static constexpr size_t kLetters = 26;
  static constexpr size_t place(char axis) {
    return static_cast<size_t>(is_form(axis) ? static_cast<int>(kLetters) + axis - kFirstForm : axis - 'A');
  }

  std::array<int64_t, kLetters + kMostForms> values_;
  std::optional<std::vector<int64_t>> leading_;
};

// Throw InvalidArgument where the result does not fit int64: dimensions of tensors without elements may be that large.
int64_t checked_product(int64_t a, int64_t b);
int64_t checked_sum(int64_t a, int64_t b);

// A dimension in a computation: what is computed from one that is unknown is unknown. Throws InvalidArgument as above.
struct Extent {
  explicit Extent(int64_t number) : value(number) {}
  bool known() const { return value != Dims::kUnknown; }

  int64_t value;
};

Extent operator+(Extent a, Extent b);
Extent operator-(Extent a, Extent b);
Extent operator*(Extent a, Extent b);
// Rounded down, and up; b > 0.
Extent operator/(Extent a, Extent b);
Extent divide_up(Extent a, Extent b);

// The product of the dimensions, 0 if one is 0. Throws InvalidArgument as above.
int64_t element_count(const std::vector<int64_t>& shape);

// "[2, 3]"
std::string format_shape(const std::vector<int64_t>& shape);
// "[N, 3]"
std::string join_axes(const std::vector<std::string>& axes);

}  // namespace ivit::ort
