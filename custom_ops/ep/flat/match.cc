#include "ep/flat/match.h"

#include <string>

namespace ivit::ep::flat {
namespace {

constexpr size_t kNone = Source::kNone;

int width_of(ONNXTensorElementDataType type) {
  switch (type) {
    case ort::kInt8:
      return 8;
    case ort::kUint8:
      return 9;
    case ort::kInt16:
      return 16;
    case ort::kInt32:
      return 32;
    case ort::kInt64:
      return 64;
    default:
      return 0;
  }
}

class Matcher {
 public:
  Matcher(const Pattern& pattern, const Source& source) : pattern_(pattern), source_(source) {
    found_.pattern = &pattern;
    found_.values.assign(pattern.terms.size(), kNone);
  }

  bool match(size_t term, size_t value) {
    value = behind_copies(value);
    if (value == kNone) return false;
    const Term& wanted = pattern_.terms[term];
    if (found_.values[term] != kNone) return found_.values[term] == value;
    // What ONNX Runtime may have computed already is compared by its value.
    if (wanted.needs != Term::Needs::kActivations && source_.is_constant(value)) {
      found_.equations.push_back({term, value, 0});
      return true;
    }
    if (wanted.needs == Term::Needs::kNothing) return false;
    if (wanted.kind == Term::Kind::kInput) {
      if (source_.type(value) != pattern_.spec->inputs[wanted.index].type) return false;
      bind(term, value);
      return true;
    }
    const Mark before = mark();
    if (match_node(term, value)) return true;
    go_back(before);
    if (match_without_constant(wanted, value)) return true;
    go_back(before);
    return false;
  }

  Match&& take() { return std::move(found_); }

 private:
  // How far the match has come.
  struct Mark {
    size_t bound, equations, given, nodes;
  };

  Mark mark() const { return {bound_.size(), found_.equations.size(), found_.given.size(), found_.nodes.size()}; }

  void go_back(const Mark& to) {
    for (; bound_.size() > to.bound; bound_.pop_back()) found_.values[bound_.back()] = kNone;
    found_.equations.resize(to.equations);
    found_.given.resize(to.given);
    found_.nodes.resize(to.nodes);
  }

  void bind(size_t term, size_t value) {
    found_.values[term] = value;
    bound_.push_back(term);
  }

  bool match_node(size_t term, size_t value) {
    const Term& wanted = pattern_.terms[term];
    const size_t node = source_.values()[value].producer;
    if (node == kNone) return false;
    const Node& found = source_.nodes()[node];
    const std::vector<size_t>& inputs = source_.inputs(node);
    if (!found.left_because.empty() || found.op_type != wanted.op_type || found.domain != wanted.domain) return false;
    if (inputs.size() != wanted.operands.size() || !match_attributes(wanted, node)) return false;
    bind(term, value);
    found_.nodes.push_back(node);
    if (wanted.op_type == "Cast") return match_cast(wanted.operands[0], inputs[0]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!match(wanted.operands[i], inputs[i])) return false;
    }
    return true;
  }

  // The value that an Identity, or a Cast to its own type, copies: patterns have neither.
  size_t behind_copies(size_t value) {
    while (value != kNone) {
      const size_t node = source_.values()[value].producer;
      if (node == kNone || !source_.nodes()[node].domain.empty() || !source_.nodes()[node].left_because.empty()) break;
      const std::string& op_type = source_.nodes()[node].op_type;
      if (op_type != "Identity" && op_type != "Cast") break;
      const size_t inner = source_.inputs(node)[0];
      if (source_.type(inner) != source_.type(value)) break;
      found_.nodes.push_back(node);
      value = inner;
    }
    return value;
  }

  // Casts that only widen may stand before a cast: patterns have none.
  bool match_cast(size_t operand, size_t value) {
    std::vector<size_t> skipped;
    for (;;) {
      const Mark before = mark();
      if (match(operand, value)) {
        found_.nodes.insert(found_.nodes.end(), skipped.begin(), skipped.end());
        return true;
      }
      go_back(before);
      const size_t node = value == kNone ? kNone : source_.values()[value].producer;
      if (node == kNone || source_.nodes()[node].op_type != "Cast" || !source_.nodes()[node].domain.empty() ||
          !source_.nodes()[node].left_because.empty()) {
        return false;
      }
      const size_t inner = source_.inputs(node)[0];
      const int width = width_of(source_.type(inner));
      if (width == 0 || width >= width_of(source_.type(value))) return false;
      skipped.push_back(node);
      value = inner;
    }
  }

  // x + 0, x - 0, x * 1 and x / 1 may have been left out.
  bool match_without_constant(const Term& wanted, size_t value) {
    const bool product = wanted.op_type == "Mul" || wanted.op_type == "Div";
    if (!product && wanted.op_type != "Add" && wanted.op_type != "Sub") return false;
    const bool either = wanted.op_type == "Mul" || wanted.op_type == "Add";
    for (const size_t left_out : {size_t{1}, size_t{0}}) {
      if (left_out == 0 && !either) break;
      const Term& constant = pattern_.terms[wanted.operands[left_out]];
      if (constant.needs != Term::Needs::kNothing) continue;
      const bool literal = constant.kind == Term::Kind::kConstant;
      if (literal && constant.constant.values != std::vector<int64_t>{product ? 1 : 0}) continue;
      found_.equations.push_back({wanted.operands[left_out], kNone, product ? 1 : 0});
      return match(wanted.operands[1 - left_out], value);
    }
    return false;
  }

  bool match_attributes(const Term& wanted, size_t node) {
    const std::optional<Attributes>& found = source_.attributes(node);
    if (!found || found->size() != wanted.attributes.size()) return false;
    for (const Term::Attribute& attribute : wanted.attributes) {
      const auto same = found->find(attribute.name);
      if (same == found->end()) return false;
      if (attribute.from < 0) {
        if (same->second != attribute.values) return false;
        continue;
      }
      if (same->second.size() != 1) return false;
      found_.given.push_back({static_cast<size_t>(attribute.from), same->second[0]});
    }
    return true;
  }

  const Pattern& pattern_;
  const Source& source_;
  Match found_;
  // Terms that have a value, in the order in which they got it.
  std::vector<size_t> bound_;
};

}  // namespace

std::optional<Match> match(const Pattern& pattern, const Source& source, size_t value) {
  Matcher matcher(pattern, source);
  if (!matcher.match(pattern.outputs.back(), value)) return std::nullopt;
  return matcher.take();
}

}  // namespace ivit::ep::flat
