// Whether the shapes of the activations, as far as they are known, are those of an operator.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "ep/flat/source.h"
#include "ort/operator.h"

namespace ivit::ep::flat {

class Shapes {
 public:
  // With the dimensions of the call that follow from parameters.
  explicit Shapes(const ort::Call& call) : call_(call) {}

  // Whether a shape fits a pattern of ort/shape.h and the shapes before it; what is known of it is kept.
  bool fit(const char* pattern, const std::vector<Dim>& shape);

  // The dimensions that are known by value.
  ort::Dims dims() const;

 private:
  const ort::Call& call_;
  std::map<char, Dim> letters_;
  std::optional<std::vector<Dim>> leading_;
};

}  // namespace ivit::ep::flat
