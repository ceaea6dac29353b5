// What must fit together in a call of IntWindowAttention.
#pragma once

#include <string>

#include "ort/operator.h"
#include "ort/operators/packed_qkv.h"
#include "ort/status.h"

namespace ivit::ort {

// Pairs of tokens of a window, over all heads: a bias is kept for each, and a small file could ask for gigabytes.
constexpr int64_t kMostPairs = int64_t{1} << 28;

// Throws InvalidArgument unless attributes and parameters agree: R offsets between two tokens of a window, H heads.
inline void check_window(const Call& call, int64_t heads, int64_t window, int64_t shift) {
  const auto fail = [&](const std::string& what, const std::string& expected, int64_t found) {
    throw InvalidArgument(std::string(call.spec.name) + ": " + what + ": expected " + expected + ", found " +
                          std::to_string(found));
  };
  const Dims& dims = call.dims;
  const int64_t offsets = (2 * window - 1) * (2 * window - 1);
  if (shift >= window) fail("attribute shift", "less than window = " + std::to_string(window), shift);
  check_heads(call, heads);
  if (dims['H'] != heads) fail("columns of input relative_position", std::to_string(heads) + " heads", dims['H']);
  const int64_t pairs = heads * window * window * window * window;
  if (pairs > kMostPairs) {
    fail("attribute window", "at most " + std::to_string(kMostPairs) + " pairs of tokens of all heads", pairs);
  }
  if (dims['R'] != offsets) {
    fail("rows of input relative_position",
         std::to_string(offsets) + " offsets in a window of " + std::to_string(window), dims['R']);
  }
}

}  // namespace ivit::ort
