// The deferred softmax of an operator.
#pragma once

#include <cstdint>

#include "kernels/common/deferred.h"
#include "ort/operator.h"

namespace ivit::ort {

// With the table of the call.
template <class Op>
DeferredSoftmax deferred_softmax(const Call& call) {
  int32_t level_bits = 0;
  while ((int64_t{1} << level_bits) < call.attributes[Op::kLevels]) ++level_bits;
  return {call.data<int16_t>(Op::kExponentials), static_cast<int32_t>(call.attributes[Op::kScoreShift]),
          static_cast<int32_t>(call.attributes[Op::kDistanceMultiplier]), level_bits};
}

}  // namespace ivit::ort
