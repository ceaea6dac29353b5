// The requantisations of attention in 32-bit lanes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/common/softmax.h"
#include "kernels/cpu/narrow_scale.h"

namespace ivit::cpu {

// The largest context of deferred normalisation, in absolute value.
constexpr int64_t kMostDeferredContext = int64_t{1} << 22;

// Of the contexts of one head.
class ContextScales {
 public:
  static constexpr int64_t blocks(int64_t head_dim) { return divide_up(head_dim, LaneScales::kLanes); }

  // `Kind` is any attention; `memory` takes as many elements as there are blocks, lanes in `order`, see LaneScales.
  template <class Kind>
  ContextScales(const Kind& attention, int64_t head, const uint8_t* order, LaneScales* memory) : context(memory) {
    const int64_t dim = attention.head_dim;
    for (int64_t b = 0; b < blocks(dim); ++b) {
      const int64_t channel = b * LaneScales::kLanes;
      memory[b].assign(attention.context_scale.from(head * dim + channel), dim - channel, order);
      pre_shift_ = std::max(pre_shift_, memory[b].largest_pre_shift);
    }
  }

  // Whether 32-bit lanes are enough for contexts up to `largest`, in absolute value.
  bool fit(int64_t largest) const { return has_headroom(largest, pre_shift_); }

  // Whether there are shifts to the left.
  bool shifted() const { return pre_shift_ != 0; }

  const LaneScales* const context;

 private:
  int32_t pre_shift_ = 0;
};

// Of the contexts and the scores of one head.
class HeadScales : public ContextScales {
 public:
  // `Kind` is Attention or WindowAttention.
  template <class Kind>
  HeadScales(const Kind& attention, int64_t head, const uint8_t* order, LaneScales* memory)
      : ContextScales(attention, head, order, memory),
        score(attention.score_scale),
        largest_score_(attention.head_dim << 14) {}

  // Whether 32-bit lanes are enough, for rows of `tokens` scores.
  bool fit(int64_t tokens, const Softmax& softmax) const {
    return score.fits(largest_score_) && ContextScales::fit(softmax.largest_sum(tokens) << 7);
  }

  const NarrowScale score;

 private:
  int64_t largest_score_;
};

}  // namespace ivit::cpu
