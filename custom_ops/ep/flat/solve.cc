#include "ep/flat/solve.h"

#include <algorithm>
#include <cstring>

#include "ep/flat/invert.h"
#include "ep/flat/terms.h"

namespace ivit::ep::flat {
namespace {

// Guesses what follows from the constants of the graph; each round may tell what the next one needs. False if the graph
// has no constant where the pattern has one.
bool invert_equations(Terms& terms, const Match& match, const Source& source) {
  for (bool progress = true; progress;) {
    progress = false;
    for (const Match::Equation& equation : match.equations) {
      if (terms.is_of_graph(equation.term) || terms.evaluate(equation.term) != nullptr) continue;
      const Constant neutral{ort::kInt64, {}, {equation.neutral}};
      const Constant* constant = equation.value == Source::kNone ? &neutral : source.constant(equation.value);
      if (constant == nullptr) return false;
      progress = invert(terms, equation.term, *constant) || progress;
    }
  }
  return true;
}

std::optional<size_t> attribute(const Pattern& pattern, const char* name) {
  for (size_t i = 0; i < pattern.spec->attributes.size(); ++i) {
    if (std::strcmp(pattern.spec->attributes[i].name, name) == 0) return pattern.attribute(i);
  }
  return std::nullopt;
}

// The height of all grids of that many tokens, the squarest first.
Numbers grid_sides(int64_t count) {
  Numbers sides;
  for (int64_t side = 1; side <= count; ++side) {
    if (count % side == 0) sides.push_back(side);
  }
  std::stable_sort(sides.begin(), sides.end(),
                   [&](int64_t a, int64_t b) { return std::max(a, count / a) < std::max(b, count / b); });
  return sides;
}

// The terms with sides of the grid and a shift of windows of all that the number of tokens allows, if any are right.
std::optional<Terms> try_grids(const Terms& terms, const Match& match, const Source& source) {
  const Pattern& pattern = terms.pattern();
  const std::optional<size_t> height = attribute(pattern, "height"), width = attribute(pattern, "width");
  const std::optional<size_t> window = attribute(pattern, "window"), shift = attribute(pattern, "shift");
  const size_t tokens = match.values[pattern.input(0)];
  if (!height || !width || terms.is_known(*height) || terms.is_known(*width) || tokens == Source::kNone) {
    return std::nullopt;
  }
  const std::vector<Dim> shape = source.shape(tokens);
  if (shape.size() != 3 || shape[1].value < 1) return std::nullopt;
  if (window && (!terms.is_known(*window) || terms.guessed(*window).values[0] < 1)) return std::nullopt;
  const int64_t count = shape[1].value;
  const int64_t shifts = window ? terms.guessed(*window).values[0] : 1;
  for (const int64_t side : grid_sides(count)) {
    for (int64_t by = 0; by < shifts; ++by) {
      Terms trial = terms;
      trial.guess(*height, {ort::kInt64, {}, {side}});
      trial.guess(*width, {ort::kInt64, {}, {count / side}});
      if (shift) trial.guess(*shift, {ort::kInt64, {}, {by}});
      if (trial.all_known() && trial.verify()) return trial;
    }
  }
  return std::nullopt;
}

Solution solution(const Terms& terms, const Source& source) {
  Solution result;
  const Pattern& pattern = terms.pattern();
  for (size_t i = 0; i < pattern.spec->attributes.size(); ++i) {
    result.attributes.push_back(terms.guessed(pattern.attribute(i)).values[0]);
  }
  for (size_t i = 0; i < pattern.spec->inputs.size(); ++i) {
    result.views.emplace_back();
    result.computed.emplace_back();
    if (pattern.spec->inputs[i].is_activation()) continue;
    const size_t term = pattern.input(i);
    if (!terms.is_of_graph(term)) {
      result.computed.back() = terms.guessed(term);
    } else if (!(result.views.back() = source.view(terms.value_of(term)))) {
      result.computed.back() = *source.constant(terms.value_of(term));
    }
    // In the graph, one number for all channels may be a vector of one element.
    if (*pattern.spec->inputs[i].shape == '?') {
      std::vector<int64_t>& shape = result.views.back() ? result.views.back()->shape : result.computed.back()->shape;
      if (shape == std::vector<int64_t>{1}) shape.clear();
    }
  }
  return result;
}

}  // namespace

std::optional<Solution> solve(const Match& match, const Source& source) {
  Terms terms(match, source);
  for (const auto& [attribute, value] : match.given) {
    if (!terms.guess(match.pattern->attribute(attribute), {ort::kInt64, {}, {value}})) return std::nullopt;
  }
  if (!invert_equations(terms, match, source)) return std::nullopt;
  if (terms.all_known()) return terms.verify() ? std::optional(solution(terms, source)) : std::nullopt;
  const std::optional<Terms> right = try_grids(terms, match, source);
  return right ? std::optional(solution(*right, source)) : std::nullopt;
}

}  // namespace ivit::ep::flat
