// Fetching what is needed soon.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit::cpu {

// Asks for memory in `pieces` equal pieces, one before each tile: the weights of the next panel, which are read too
// seldom to be in a near cache.
class Prefetch {
 public:
  Prefetch(const uint8_t* memory, int64_t bytes, int64_t pieces)
      : memory_(memory), bytes_(bytes), piece_(round_up(divide_up(bytes, pieces), 64)) {}

  void piece(int64_t index) const {
    const int64_t end = std::min(bytes_, (index + 1) * piece_);
    for (int64_t at = index * piece_; at < end; at += 64) {
      __builtin_prefetch(memory_ + at, 0, 2);
    }
  }

 private:
  const uint8_t* memory_;
  int64_t bytes_;
  int64_t piece_;
};

}  // namespace ivit::cpu
