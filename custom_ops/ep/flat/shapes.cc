#include "ep/flat/shapes.h"

#include <cstring>

namespace ivit::ep::flat {
namespace {

// Two dimensions may be equal; keeps what is known of them.
bool agree(Dim& known, const Dim& other) {
  if (!known.known()) known = other;
  return !other.known() || known == other;
}

}  // namespace

bool Shapes::fit(const char* pattern, const std::vector<Dim>& shape) {
  const bool any = *pattern == '*';
  if (any) ++pattern;
  const size_t rank = std::strlen(pattern);
  if (any ? shape.size() < rank : shape.size() != rank) return false;
  const size_t first = shape.size() - rank;
  if (any) {
    const std::vector<Dim> leading(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(first));
    if (!leading_) leading_ = leading;
    if (leading_->size() != leading.size()) return false;
    for (size_t axis = 0; axis < first; ++axis) {
      if (!agree((*leading_)[axis], leading[axis])) return false;
    }
  }
  const bool image = std::strcmp(pattern, "NCHW") == 0;
  for (size_t axis = 0; axis < rank; ++axis) {
    const Dim of_parameters{call_.dims[pattern[axis]], ""};
    // Standard operators broadcast dimensions of 1, and one position to all patches of an image; those of the domain do
    // not.
    if (of_parameters.known() && !shape[first + axis].known()) return false;
    if (image && axis > 0 && shape[first + axis].value < 0) return false;
    Dim& known = letters_.emplace(pattern[axis], of_parameters).first->second;
    if (!agree(known, shape[first + axis])) return false;
  }
  return true;
}

ort::Dims Shapes::dims() const {
  ort::Dims known = call_.dims;
  for (const auto& [letter, dim] : letters_) {
    if (dim.value >= 0) known[letter] = dim.value;
  }
  return known;
}

}  // namespace ivit::ep::flat
