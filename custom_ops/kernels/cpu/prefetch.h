// Fetching what is needed soon.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"

namespace ivit::cpu {

// Asks for memory in `steps` equal steps, few lines at a time: a burst would hold up the loads behind it. Meant for the
// weights of the next panel, which are read too seldom to be in a near cache.
class Prefetch {
 public:
  Prefetch(const uint8_t* memory, int64_t bytes, int64_t steps)
      : at_(memory), end_(memory + bytes), step_(round_up(divide_up(bytes, steps), 64)) {}

  void step() {
    const uint8_t* const end = std::min(end_, at_ + step_);
    for (; at_ < end; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  int64_t step_;
};

}  // namespace ivit::cpu
