// From the value of a term back to an attribute or a parameter from which it is computed.
#pragma once

#include "ep/flat/terms.h"

namespace ivit::ep::flat {

// Walks from a term whose value is given to the only attribute or parameter in it that is not known, and guesses that.
// True if that is known then.
bool invert(Terms& terms, size_t term, Constant value);

}  // namespace ivit::ep::flat
