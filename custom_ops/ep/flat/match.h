// Finds a pattern in a graph.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "ep/flat/pattern.h"
#include "ep/flat/source.h"

namespace ivit::ep::flat {

// A place of the graph that has the nodes of a pattern. Whether its constants are those of the operator is another
// matter, see solve.h.
struct Match {
  // A term of the pattern must be what a constant of the graph is, or, without a value, a single number that changes
  // nothing in the sum or product from which it was left out.
  struct Equation {
    size_t term;
    size_t value;
    int64_t neutral;
  };

  const Pattern* pattern;
  // The graph's value of each term that has one, Source::kNone for the others.
  std::vector<size_t> values;
  std::vector<Equation> equations;
  // Values of the operator's attributes, by number, that nodes of the domain have.
  std::vector<std::pair<size_t, int64_t>> given;
  std::vector<size_t> nodes;
};

// The match whose last output is `value`.
std::optional<Match> match(const Pattern& pattern, const Source& source, size_t value);

}  // namespace ivit::ep::flat
