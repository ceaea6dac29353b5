// The relative position bias of windows, expanded from offsets to pairs of tokens.
#pragma once

#include <cstdint>

#include "kernels/common/window_grid.h"
#include "kernels/cpu/aligned.h"

namespace ivit::cpu {

class RelativePositionBias {
 public:
  RelativePositionBias() = default;
  // `relative_position` is [(2 * window - 1)^2, heads].
  RelativePositionBias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position);

  // The biases of one query for all keys; rows are `stride` apart, aligned, padded with zeros.
  const int16_t* row(int64_t head, int64_t query) const { return bias_.get() + (head * area_ + query) * stride_; }
  int64_t stride() const { return stride_; }

 private:
  int64_t area_ = 0;
  int64_t stride_ = 0;
  AlignedArray<int16_t> bias_;
};

}  // namespace ivit::cpu
