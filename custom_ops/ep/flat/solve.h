// Recovers attributes and parameters of an operator from the constants of a match, and checks all of them.
#pragma once

#include <optional>
#include <vector>

#include "ep/flat/match.h"

namespace ivit::ep::flat {

struct Solution {
  std::vector<int64_t> attributes;
  // By input. A parameter is a constant of the graph as it stands there, or computed; activations have neither.
  std::vector<std::optional<ort::TensorView>> views;
  std::vector<std::optional<Constant>> computed;
};

// Nothing unless the pattern, with these attributes and parameters, has exactly the constants of the graph. How they
// are guessed is not relied upon: everything is computed forwards from them and compared.
std::optional<Solution> solve(const Match& match, const Source& source);

}  // namespace ivit::ep::flat
