// The square root of IntLayerNorm in as few and as short divisions as it needs.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit::cuda {

// newton_sqrt() of kernels/common/layer_norm.h for any radicand that is not negative, usually with half the divisions.
//
// The first step, from 2^16, is a shift. A step that leaves the root as it was would do so for ever, so it is the last
// one; from a root that changes to and fro by one the steps go on to the end. Both operands fit 32 bits for radicands
// below 2^32, the usual ones; compilers for GPUs test for that and then divide 32 bits.
constexpr uint64_t newton_root(uint64_t radicand) {
  uint64_t root = ((uint64_t{1} << 16) + (radicand >> 16)) >> 1;
  for (int step = 1; step < 10; ++step) {
    const uint64_t next = (root + radicand / root) >> 1;
    if (next == root) break;
    root = next;
  }
  return root;
}

// round_half_even_divide() for a sum of `count` values of 16 bits, with count <= 65535.
constexpr int32_t mean_of(int32_t sum, int32_t count) {
  const int32_t truncated = sum / count;
  const int32_t rest = sum - truncated * count;
  const int32_t quotient = rest < 0 ? truncated - 1 : truncated;
  const int32_t remainder = rest < 0 ? rest + count : rest;
  return quotient + (2 * remainder + (quotient & 1) > count ? 1 : 0);
}

}  // namespace ivit::cuda
