// IntWindowAttention, IntDeferredWindowAttention: their constants, and how they are split over threads.
//
// A task is a range of heads of windows. Kernels get pointers to the tokens of a window, so that they know nothing of
// the shift and the padding.
#include "kernels/cpu/int_window_attention.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

constexpr int64_t kScaledLimit = int64_t{1} << 17;

// `Attention` is either of the two, `Kernel` its kernel.
template <class Attention, class Kernel>
void attend_in_windows(const Parallel& parallel, const int8_t* qkv, const Attention& attention, Kernel* kernel,
                       int8_t* y) {
  const WindowGrid& grid = attention.grid;
  const int64_t channels = attention.heads * attention.head_dim;
  const int64_t places = grid.area();
  const Split split(attention.images * grid.count() * attention.heads, wanted_tasks(), 1);
  parallel.run(split.count(), [&](int64_t task) {
    thread_local Scratch<const int8_t*> source_memory;
    thread_local Scratch<int8_t*> target_memory;
    thread_local Scratch<uint8_t> region_memory;
    const int8_t** const sources = source_memory.get(places);
    int8_t** const targets = target_memory.get(places);
    uint8_t* const regions = region_memory.get(places);
    for (int64_t item = split.begin(task); item < split.end(task); ++item) {
      const int64_t head = item % attention.heads;
      const int64_t number = item / attention.heads % grid.count();
      const int64_t image = item / attention.heads / grid.count();
      if (item == split.begin(task) || head == 0) {
        grid.for_places(number, [&](int64_t place, int64_t token) {
          const bool padding = token == WindowGrid::kPadding;
          const int64_t row = image * grid.tokens() + token;
          sources[place] = padding ? attention.padding : qkv + row * 3 * channels;
          targets[place] = padding ? nullptr : y + row * channels;
        });
        if (grid.mixed(number)) {
          for (int64_t place = 0; place < places; ++place) regions[place] = grid.region(number, place);
        }
      }
      kernel({sources, targets, grid.mixed(number) ? regions : nullptr}, attention, head);
    }
  });
}

}  // namespace

BiasedScores::BiasedScores(const WindowGrid& grid, int64_t heads, const int16_t* relative_position, const Dyadic& scale)
    : area_(grid.area()), narrow_(true), bias_(grid, heads, relative_position) {
  for (int score = -128; score < 128; ++score) {
    const int64_t scaled = std::clamp(scale.scale(score, 0), -kScaledLimit, kScaledLimit);
    const uint8_t index = static_cast<uint8_t>(score);
    scaled_[index] = static_cast<int32_t>(scaled);
    for (int byte = 0; byte < 2; ++byte) scaled_bytes_[byte][index] = static_cast<uint8_t>(scaled >> (8 * byte));
    narrow_ = narrow_ && scaled == saturate<int16_t>(scaled);
  }
}

WindowSoftmax::WindowSoftmax(const Softmax& softmax) : Softmax(softmax) {
  for (int d = 0; d < kScoreDistances; ++d) {
    for (int byte = 0; byte < 4; ++byte) bytes[byte][d] = static_cast<uint8_t>(exponentials[d] >> (8 * byte));
  }
}

void int_window_attention(const Parallel& parallel, const int8_t* qkv, const WindowAttention& attention, int8_t* y) {
  attend_in_windows(parallel, qkv, attention, active_variant().window_attention, y);
}

void int_window_attention(const Parallel& parallel, const int8_t* qkv, const DeferredWindowAttention& attention,
                          int8_t* y) {
  attend_in_windows(parallel, qkv, attention, active_variant().deferred_window_attention, y);
}

}  // namespace ivit::cpu
