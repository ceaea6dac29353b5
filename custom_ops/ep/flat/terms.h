// What is known of the terms of a pattern at a place of a graph.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "ep/flat/match.h"

namespace ivit::ep::flat {

class Terms {
 public:
  // Both are referred to. Known from the beginning are the parameters that the graph has as they are.
  Terms(const Match& match, const Source& source);

  const Pattern& pattern() const { return pattern_; }

  // The value of a term, as far as it follows from what is known; null if it does not.
  const Constant* evaluate(size_t term);
  // Sets an attribute or a parameter; false if it has another value already.
  bool guess(size_t term, Constant value);

  // Of an attribute or a parameter: whether it has a value, and that value if it was guessed.
  bool is_known(size_t term) const;
  const Constant& guessed(size_t term) const { return *known_[term]; }
  // Whether a parameter is a value of the graph, and which.
  bool is_of_graph(size_t term) const { return inputs_.count(term) > 0; }
  size_t value_of(size_t term) const { return inputs_.at(term); }

  // Whether all attributes and parameters are known.
  bool all_known() const;
  // Whether the graph has the constants that the pattern has for what is known.
  bool verify();

 private:
  std::optional<Numbers> shape_of(size_t term);

  const Match& match_;
  const Source& source_;
  const Pattern& pattern_;
  // Values of terms; of attributes and parameters as they are guessed.
  std::vector<std::optional<Constant>> known_;
  // Parameters that the graph has as they are: its values by term.
  std::map<size_t, size_t> inputs_;
};

}  // namespace ivit::ep::flat
