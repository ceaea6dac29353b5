// The softmax of an operator: by shifts, with x0, n and frac_bits as its last attributes, or by a table, which is its
// last input, with frac_bits as its last attribute.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/common/softmax.h"
#include "ort/operator.h"
#include "ort/operators/exponential.h"
#include "ort/status.h"

namespace ivit::ort {

constexpr const char* kExponentials = "exponentials";

inline TensorSpec exponentials_input() { return {kExponentials, kInt32, "V", {0, INT32_MAX}}; }

inline bool has_table(const OperatorSpec& spec) { return std::strcmp(spec.inputs.back().name, kExponentials) == 0; }

// The attributes of the one and of the other, behind those of the operator itself.
inline std::vector<AttributeSpec> shift_softmax_attributes(std::vector<AttributeSpec> attributes = {}) {
  for (const AttributeSpec& last : {x0_attribute(), n_attribute(), frac_bits_attribute()}) attributes.push_back(last);
  return attributes;
}
inline std::vector<AttributeSpec> table_softmax_attributes(std::vector<AttributeSpec> attributes = {}) {
  attributes.push_back(frac_bits_attribute());
  return attributes;
}

// Throws InvalidArgument for a table that rises, or begins with 0.
inline Softmax bind_softmax(const Call& call) {
  const size_t last = call.attributes.size() - 1;
  const int frac_bits = static_cast<int>(call.attributes[last]);
  if (!has_table(call.spec)) return shift_softmax(call.attributes[last - 2], call.attributes[last - 1], frac_bits);
  const int32_t* const table = call.data<int32_t>(call.spec.inputs.size() - 1);
  if (table[0] < 1 || !std::is_sorted(table, table + kScoreDistances, std::greater<int32_t>())) {
    throw InvalidArgument(std::string(call.spec.name) + ": values of input " + kExponentials +
                          ": expected a positive one, and then none larger than the one before");
  }
  return table_softmax(table, frac_bits);
}

// Made once, unless the table changes from call to call. `Form` is what a kernel makes of a Softmax.
template <class Form>
class SoftmaxInput {
 public:
  explicit SoftmaxInput(const Call& constants)
      : constant_(!has_table(constants.spec) || constants.is_constant(constants.spec.inputs.size() - 1)) {
    if (constant_) softmax_ = Form(bind_softmax(constants));
  }

  // The softmax, in `storage` if it had to be made for this call.
  const Form& get(const Call& call, Form& storage) const {
    if (constant_) return softmax_;
    storage = Form(bind_softmax(call));
    return storage;
  }

 private:
  bool constant_;
  Form softmax_;
};

}  // namespace ivit::ort
