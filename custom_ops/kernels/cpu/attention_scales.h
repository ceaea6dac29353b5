// The requantisations of attention in 32-bit lanes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/common/softmax.h"
#include "kernels/cpu/narrow_scale.h"

namespace ivit::cpu {

// Those of one head.
class HeadScales {
 public:
  static constexpr int64_t blocks(int64_t head_dim) { return divide_up(head_dim, LaneScales::kLanes); }

  // `Kind` is Attention or WindowAttention; `memory` takes as many elements as there are blocks, lanes in `order`, see
  // LaneScales.
  template <class Kind>
  HeadScales(const Kind& attention, int64_t head, const uint8_t* order, LaneScales* memory)
      : score(attention.score_scale), context(memory), head_dim_(attention.head_dim) {
    for (int64_t b = 0; b < blocks(head_dim_); ++b) {
      const int64_t channel = b * LaneScales::kLanes;
      memory[b].assign(attention.context_scale.from(head * head_dim_ + channel), head_dim_ - channel, order);
      context_pre_shift_ = std::max(context_pre_shift_, memory[b].largest_pre_shift);
    }
  }

  // Whether 32-bit lanes are enough, for rows of `tokens` scores.
  bool fit(int64_t tokens, const Softmax& softmax) const {
    return score.fits(head_dim_ << 14) && has_headroom(softmax.largest_sum(tokens) << 7, context_pre_shift_);
  }

  const NarrowScale score;
  const LaneScales* const context;

 private:
  int64_t head_dim_;
  int32_t context_pre_shift_ = 0;
};

}  // namespace ivit::cpu
