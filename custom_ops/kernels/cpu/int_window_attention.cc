// IntWindowAttention: its constants, and how it is split over threads.
//
// A task is a range of heads of windows. The queries, keys and values of a head of a window are gathered first, so that
// kernels know nothing of the shift and the padding; what they compute is scattered in the same way.
#include "kernels/cpu/int_window_attention.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Places of a row of biases: a register of bytes.
constexpr int64_t kBiasPadding = 64;

constexpr int64_t kScaledLimit = int64_t{1} << 17;

}  // namespace

PlacedScores::PlacedScores(const WindowGrid& grid, int64_t heads, const int16_t* relative_position, const Dyadic& scale)
    : area_(grid.area()),
      stride_(round_up(grid.area(), kBiasPadding)),
      narrow_(true),
      bias_(heads * grid.area() * round_up(grid.area(), kBiasPadding)) {
  for (int score = -128; score < 128; ++score) {
    const int64_t scaled = std::clamp(scale.scale(score, 0), -kScaledLimit, kScaledLimit);
    scaled_[score + 128] = static_cast<int32_t>(scaled);
    narrow_ = narrow_ && scaled == saturate<int16_t>(scaled);
  }
  std::fill_n(bias_.get(), heads * area_ * stride_, int16_t{0});
  for (int64_t query = 0; query < area_; ++query) {
    for (int64_t key = 0; key < area_; ++key) {
      const int16_t* of_heads = relative_position + grid.offset(query, key) * heads;
      for (int64_t head = 0; head < heads; ++head) bias_[(head * area_ + query) * stride_ + key] = of_heads[head];
    }
  }
}

void int_window_attention(const Parallel& parallel, const int8_t* qkv, const WindowAttention& attention, int8_t* y) {
  const WindowAttentionKernel kernel = active_variant().window_attention;
  const WindowGrid& grid = attention.grid;
  const int64_t dim = attention.head_dim;
  const int64_t channels = attention.heads * dim;
  const int64_t places = grid.area();
  const Split split(attention.images * grid.count() * attention.heads, wanted_tasks(), 1);
  parallel.run(split.count(), [&](int64_t task) {
    thread_local Scratch<int8_t> memory;
    int8_t* const packed = memory.get(places * 4 * dim);
    int8_t* const context = packed + places * 3 * dim;
    const auto tokens = scratch<int64_t>(places);
    const auto regions = scratch<uint8_t>(places);
    int64_t known = -1;
    for (int64_t item = split.begin(task); item < split.end(task); ++item) {
      const int64_t head = item % attention.heads;
      const int64_t number = item / attention.heads % grid.count();
      const int64_t image = item / attention.heads / grid.count();
      if (number != known) {
        for (int64_t place = 0; place < places; ++place) {
          tokens[place] = grid.token(number, place);
          regions[place] = grid.region(number, place);
        }
        known = number;
      }
      const int8_t* const source = qkv + image * grid.tokens() * 3 * channels;
      for (int64_t place = 0; place < places; ++place) {
        const bool padding = tokens[place] == WindowGrid::kPadding;
        const int8_t* from = (padding ? attention.padding : source + tokens[place] * 3 * channels) + head * dim;
        int8_t* to = packed + place * 3 * dim;
        for (int part = 0; part < 3; ++part) std::copy_n(from + part * channels, dim, to + part * dim);
      }
      kernel(packed, attention, head, grid.mixed(number) ? regions.get() : nullptr, context);
      int8_t* const target = y + image * grid.tokens() * channels + head * dim;
      for (int64_t place = 0; place < places; ++place) {
        if (tokens[place] == WindowGrid::kPadding) continue;
        std::copy_n(context + place * dim, dim, target + tokens[place] * channels);
      }
    }
  });
}

}  // namespace ivit::cpu
