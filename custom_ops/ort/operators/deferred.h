// The softmax of operators with deferred normalisation.
#pragma once

#include "kernels/common/deferred.h"
#include "ort/operator.h"

namespace ivit::ort {

// Points to the table of the call.
template <class Op>
DeferredSoftmax deferred_softmax(const Call& call) {
  const auto attribute = [&](size_t number) { return static_cast<int32_t>(call.attributes[number]); };
  int32_t level_bits = 0;
  while (attribute(Op::kLevels) >> level_bits > 1) ++level_bits;
  return {call.data<int16_t>(Op::kExponentials), attribute(Op::kScoreShift), attribute(Op::kDistanceMultiplier),
          level_bits};
}

}  // namespace ivit::ort
