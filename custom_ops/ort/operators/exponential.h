// The attributes of the shift exponential, and the fractional bits of a softmax.
#pragma once

#include "ort/operator.h"

namespace ivit::ort {

inline AttributeSpec x0_attribute() { return {"x0", {-(int64_t{1} << 29), -1}}; }
inline AttributeSpec n_attribute() { return {"n", {1, 31}}; }
inline AttributeSpec frac_bits_attribute() { return {"frac_bits", {7, 15}, {7, 8, 15}}; }

}  // namespace ivit::ort
