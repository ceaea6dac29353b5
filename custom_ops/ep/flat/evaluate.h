// What standard operators make of constants.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ep/flat/constant.h"

namespace ivit::ep::flat {

using Attributes = std::map<std::string, Numbers>;

// The result of a standard operator with all its attributes. Nothing if the operator is not one of those that function
// bodies apply to constants, or the inputs do not fit.
std::optional<Constant> evaluate(const std::string& op_type, const Attributes& attributes,
                                 const std::vector<const Constant*>& inputs);

// The result of Shape. Nothing if a dimension of it is unknown (-1).
std::optional<Constant> shape_constant(const Attributes& attributes, const Numbers& shape);

}  // namespace ivit::ep::flat
