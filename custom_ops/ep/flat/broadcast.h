// Standard operators whose inputs are broadcast to each other, on constants.
#pragma once

#include <optional>
#include <string>

#include "ep/flat/constant.h"

namespace ivit::ep::flat {

// Arithmetic, comparisons and And on two constants of one type. Nothing if the operator is another, the shapes do not
// fit, or a quotient does not exist. Sums and products wrap as they do in ONNX Runtime.
std::optional<Constant> elementwise(const std::string& op_type, const Constant& a, const Constant& b);

std::optional<Constant> where(const Constant& condition, const Constant& yes, const Constant& no);

// `x` broadcast to the shape that `target` holds.
std::optional<Constant> expand(const Constant& x, const Constant& target);

}  // namespace ivit::ep::flat
