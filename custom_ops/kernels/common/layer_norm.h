// Scalar steps of IntLayerNorm, shared by all devices.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit {

// Ten Newton steps from 2^16: the square root of the definition, not always of the mathematics. For a radicand below
// 2^16 the steps have not converged; the result is at least 64, never 0.
constexpr int64_t newton_sqrt(int64_t radicand) {
  int64_t root = int64_t{1} << 16;
  for (int step = 0; step < 10; ++step) root = (root + radicand / root) / 2;
  return root;
}

}  // namespace ivit
