#include "kernels/cpu/relative_position_bias.h"

#include <algorithm>

namespace ivit::cpu {
namespace {

// Places of a row of biases: a register of bytes.
constexpr int64_t kBiasPadding = 64;

}  // namespace

RelativePositionBias::RelativePositionBias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position)
    : area_(grid.area()), stride_(round_up(area_, kBiasPadding)), bias_(heads * area_ * stride_) {
  std::fill_n(bias_.get(), heads * area_ * stride_, int16_t{0});
  for (int64_t query = 0; query < area_; ++query) {
    for (int64_t key = 0; key < area_; ++key) {
      const int16_t* of_heads = relative_position + grid.offset(query, key) * heads;
      for (int64_t head = 0; head < heads; ++head) bias_[(head * area_ + query) * stride_ + key] = of_heads[head];
    }
  }
}

}  // namespace ivit::cpu
