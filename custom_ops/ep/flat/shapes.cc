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
  for (size_t axis = 0; axis < rank; ++axis) {
    const Dim of_parameters{call_.dims[pattern[axis]], ""};
    // Standard operators would broadcast a dimension of 1, which those of the domain refuse.
    if (of_parameters.known() && !shape[first + axis].known()) return false;
    Dim& known = letters_.emplace(pattern[axis], of_parameters).first->second;
    if (!agree(known, shape[first + axis])) return false;
  }
  return true;
}

}  // namespace ivit::ep::flat
