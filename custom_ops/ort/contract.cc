#include "ort/contract.h"

#include <algorithm>
#include <cstring>

#include "ort/status.h"

namespace ivit::ort {
namespace {

std::string describe(const Contract& contract, const Attributes& attributes, const Dims& dims, const char* pattern) {
  std::vector<std::string> axes;
  std::string known;
  for (const char* axis = pattern; *axis != '\0'; ++axis) {
    if (*axis == '?') continue;
    if (*axis == '*') {
      if (!dims.leading()) axes.push_back("..");
      for (const int64_t dim : dims.leading().value_or(std::vector<int64_t>{})) axes.push_back(std::to_string(dim));
      continue;
    }
    int64_t value = dims[*axis];
    if (Dims::is_form(*axis)) {
      const Form& form = contract.forms[static_cast<size_t>(*axis - Dims::kFirstForm)];
      axes.push_back(form.text);
      const Extent computed = form.value(dims, attributes);
      if (computed.known()) value = computed.value;
    } else {
      axes.push_back(std::string(1, *axis));
    }
    if (value != Dims::kUnknown && axes.back() != std::to_string(value)) {
      known += (known.empty() ? " with " : ", ") + axes.back() + " = " + std::to_string(value);
    }
  }
  return (*pattern == '?' ? "[] or " : "") + join_axes(axes) + known;
}

// A form that has another value in the shape of an input, the first that is all bound.
[[noreturn]] void fail_form(const Contract& contract, const Attributes& attributes, const Dims& dims, char form) {
  for (const TensorSpec& input : contract.inputs) {
    const std::vector<int64_t> shape = dims.shape(input.shape);
    const bool bound = std::find(shape.begin(), shape.end(), Dims::kUnknown) == shape.end();
    if (!bound || std::strchr(input.shape, form) == nullptr) continue;
    throw InvalidArgument(std::string(contract.name) + ": " + shape_error(contract, attributes, dims, input, shape));
  }
  throw InvalidArgument(std::string(contract.name) + ": the shapes of its inputs do not fit together");
}

void check_relations(const Contract& contract, const Attributes& attributes, const Dims& dims) {
  for (size_t index = 0; index < contract.attributes.size(); ++index) {
    const AttributeSpec& attribute = contract.attributes[index];
    const std::string what = std::string("attribute ") + attribute.name;
    const int64_t value = attributes[index];
    for (const char* letter = attribute.divides; *letter != '\0'; ++letter) {
      if (dims[*letter] == Dims::kUnknown || dims[*letter] % value == 0) continue;
      const std::string dim = std::string(1, *letter) + " = " + std::to_string(dims[*letter]);
      fail(contract, what, "a divisor of " + dim, std::to_string(value));
    }
    if (attribute.below < attributes.size() && value >= attributes[attribute.below]) {
      const std::string other = contract.attributes[attribute.below].name;
      fail(contract, what, "less than " + other + " = " + std::to_string(attributes[attribute.below]),
           std::to_string(value));
    }
  }
}

}  // namespace

void fail(const Contract& contract, const std::string& what, const std::string& expected, const std::string& found) {
  throw InvalidArgument(std::string(contract.name) + ": " + what + ": expected " + expected + ", found " + found);
}

std::string format_range(const Range& range) {
  return std::to_string(range.minimum) + ".." + std::to_string(range.maximum);
}

int64_t check_attribute(const Contract& contract, const AttributeSpec& attribute, int64_t value) {
  const std::string what = std::string("attribute ") + attribute.name;
  if (!attribute.range.contains(value)) fail(contract, what, format_range(attribute.range), std::to_string(value));
  const auto& allowed = attribute.allowed;
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    fail(contract, what, "one of " + format_shape(allowed), std::to_string(value));
  }
  return value;
}

std::string shape_error(const Contract& contract, const Attributes& attributes, const Dims& dims,
                        const TensorSpec& input, const std::vector<int64_t>& found) {
  return std::string("shape of input ") + input.name + ": expected " +
         describe(contract, attributes, dims, input.shape) + ", found " + format_shape(found);
}

void complete(const Contract& contract, const Attributes& attributes, Dims& dims) {
  for (size_t index = 0; index < contract.forms.size(); ++index) {
    const Form& form = contract.forms[index];
    const int64_t found = dims[Dims::form(index)];
    if (form.letter == 0 || found == Dims::kUnknown || dims[form.letter] != Dims::kUnknown) continue;
    if (found % form.factor != 0) fail_form(contract, attributes, dims, Dims::form(index));
    dims[form.letter] = found / form.factor;
  }
  check_relations(contract, attributes, dims);
  for (size_t index = 0; index < contract.forms.size(); ++index) {
    const Extent computed = contract.forms[index].value(dims, attributes);
    int64_t& found = dims[Dims::form(index)];
    if (!computed.known()) continue;
    if (found != Dims::kUnknown && found != computed.value) {
      fail_form(contract, attributes, dims, Dims::form(index));
    }
    found = computed.value;
  }
  for (const Limit& limit : contract.limits) {
    const Extent value = limit.value(dims, attributes);
    if (value.known() && !limit.range.contains(value.value)) {
      fail(contract, limit.text, format_range(limit.range), std::to_string(value.value));
    }
  }
}

}  // namespace ivit::ort
