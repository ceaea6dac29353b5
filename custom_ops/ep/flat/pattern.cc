#include "ep/flat/pattern.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <stdexcept>

#include "ort/domain.h"

namespace ivit::ep::flat {
namespace {

constexpr const char* kTable =
#include "ep/flat/patterns.inc"
    ;

// Reads one line of the table: names, numbers and single characters.
class Line {
 public:
  explicit Line(const std::string& text) : text_(text) {}

  std::string next() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    const size_t begin = at_;
    const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; };
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    if (at_ == begin && at_ < text_.size()) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  void skip(char expected) {
    if (next() != std::string(1, expected)) throw std::logic_error("ivit: patterns.inc: " + text_);
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

bool is_number(char c) { return c == '-' || std::isdigit(static_cast<unsigned char>(c)) != 0; }

// "-128" is a scalar, "[1, 2]" a tensor of one dimension.
Constant read_literal(Line& line) {
  Constant constant;
  if (line.peek() != '[') {
    constant.values.push_back(std::stoll(line.next()));
    return constant;
  }
  line.skip('[');
  while (line.peek() != ']') {
    constant.values.push_back(std::stoll(line.next()));
    if (line.peek() == ',') line.skip(',');
  }
  line.skip(']');
  constant.shape = {static_cast<int64_t>(constant.values.size())};
  return constant;
}

class Reader {
 public:
  std::vector<Pattern> read() {
    std::istringstream lines(kTable);
    for (std::string text; std::getline(lines, text);) {
      if (text.empty()) continue;
      Line line(text);
      const std::string first = line.next();
      if (first == "operator") {
        begin(line);
      } else if (first == "return") {
        end(line);
      } else if (line.skip('='); patterns_.empty()) {
        constants_[first] = read_literal(line);
      } else {
        const size_t term = read_node(line);
        names_[first] = term;
      }
    }
    return std::move(patterns_);
  }

 private:
  static const ort::OperatorSpec* find(const std::string& name) {
    for (const ort::OperatorSpec& spec : ort::operators()) {
      if (name == spec.name) return &spec;
    }
    return nullptr;
  }

  Pattern& pattern() { return patterns_.back(); }

  size_t add(Term term) {
    pattern().terms.push_back(std::move(term));
    return pattern().terms.size() - 1;
  }

  void begin(Line& line) {
    const std::string name = line.next();
    const ort::OperatorSpec* spec = find(name);
    if (spec == nullptr) throw std::logic_error("ivit: patterns.inc: no operator " + name);
    patterns_.push_back({spec, {}, {}});
    names_.clear();
    for (size_t index = 0; index < spec->inputs.size(); ++index) {
      const auto needs = spec->inputs[index].is_activation() ? Term::Needs::kActivations : Term::Needs::kNothing;
      names_[spec->inputs[index].name] = add({Term::Kind::kInput, needs, index, {}, {}, {}, {}, {}});
    }
    for (size_t index = 0; index < spec->attributes.size(); ++index) {
      add({Term::Kind::kAttribute, Term::Needs::kNothing, index, {}, {}, {}, {}, {}});
    }
  }

  void end(Line& line) {
    while (line.peek() != '\0') {
      pattern().outputs.push_back(names_.at(line.next()));
      if (line.peek() == ',') line.skip(',');
    }
  }

  // "$heads"
  size_t read_attribute(Line& line) {
    line.skip('$');
    const std::string name = line.next();
    const auto& all = pattern().spec->attributes;
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& known) { return name == known.name; });
    if (found == all.end()) throw std::logic_error("ivit: patterns.inc: no attribute " + name);
    return static_cast<size_t>(found - all.begin());
  }

  size_t read_operand(Line& line) {
    const char first = line.peek();
    if (first == '$') return pattern().attribute(read_attribute(line));
    if (first == '[' || is_number(first)) {
      return add({Term::Kind::kConstant, Term::Needs::kNothing, 0, read_literal(line), {}, {}, {}, {}});
    }
    const std::string name = line.next();
    const auto constant = constants_.find(name);
    if (constant == constants_.end()) return names_.at(name);
    return add({Term::Kind::kConstant, Term::Needs::kNothing, 0, constant->second, {}, {}, {}, {}});
  }

  // "Gather(per_head, 1; axis=2)"
  size_t read_node(Line& line) {
    Term node{Term::Kind::kNode, Term::Needs::kNothing, 0, {}, "", line.next(), {}, {}};
    if (find(node.op_type) != nullptr) node.domain = ort::kDomain;
    line.skip('(');
    while (line.peek() != ';' && line.peek() != ')') {
      node.operands.push_back(read_operand(line));
      node.needs = std::max(node.needs, pattern().terms[node.operands.back()].needs);
      if (line.peek() == ',') line.skip(',');
    }
    if (node.op_type == "Shape") node.needs = std::min(node.needs, Term::Needs::kShapes);
    if (line.peek() == ';') line.skip(';');
    while (line.peek() != ')') {
      Term::Attribute attribute{line.next(), {}, -1};
      line.skip('=');
      if (line.peek() == '$') {
        attribute.from = static_cast<int>(read_attribute(line));
      } else {
        attribute.values = read_literal(line).values;
      }
      node.attributes.push_back(std::move(attribute));
      if (line.peek() == ',') line.skip(',');
    }
    return add(std::move(node));
  }

  std::vector<Pattern> patterns_;
  std::map<std::string, Constant> constants_;
  std::map<std::string, size_t> names_;
};

}  // namespace

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> all = Reader().read();
  return all;
}

}  // namespace ivit::ep::flat
