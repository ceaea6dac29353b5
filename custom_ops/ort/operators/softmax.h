// The softmax of an operator: by shifts, with x0 and n as attributes, or by a table, which is an input.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <type_traits>

#include "kernels/common/softmax.h"
#include "ort/operator.h"
#include "ort/status.h"

namespace ivit::ort {

// Whether an operator has its exponentials from a table.
template <class Op, class = void>
constexpr bool kHasTable = false;
template <class Op>
constexpr bool kHasTable<Op, std::void_t<decltype(Op::kExponentials)>> = true;

// Throws InvalidArgument for a table that rises, or begins with 0.
template <class Op>
Softmax bind_softmax(const Call& call) {
  const int frac_bits = static_cast<int>(call.attributes[Op::kFracBits]);
  if constexpr (kHasTable<Op>) {
    const int32_t* const table = call.data<int32_t>(Op::kExponentials);
    if (table[0] < 1 || !std::is_sorted(table, table + kScoreDistances, std::greater<int32_t>())) {
      throw InvalidArgument(std::string(call.spec.name) + ": values of input " +
                            call.spec.inputs[Op::kExponentials].name +
                            ": expected a positive one, and then none larger than the one before");
    }
    return table_softmax(table, frac_bits);
  } else {
    return shift_softmax(call.attributes[Op::kX0], call.attributes[Op::kN], frac_bits);
  }
}

// Made once, unless the table changes from call to call. `Form` is what a kernel makes of a Softmax.
template <class Op, class Form>
class SoftmaxParameters {
 public:
  explicit SoftmaxParameters(const Call& constants) : constant_(true) {
    if constexpr (kHasTable<Op>) constant_ = constants.is_constant(Op::kExponentials);
    if (constant_) softmax_ = Form(bind_softmax<Op>(constants));
  }

  // The softmax, in `storage` if it had to be made for this call.
  const Form& get(const Call& call, Form& storage) const {
    if (constant_) return softmax_;
    storage = Form(bind_softmax<Op>(call));
    return storage;
  }

 private:
  bool constant_;
  Form softmax_;
};

}  // namespace ivit::ort
