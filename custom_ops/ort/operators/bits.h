// The attribute of operators that clamp a linear layer's result to fewer than 16 bits.
#pragma once

#include "ort/operator.h"

namespace ivit::ort {

inline AttributeSpec bits_attribute() { return {"bits", {8, 16}, {8, 16}}; }

}  // namespace ivit::ort
