// The portable attention inside a window.
#include <algorithm>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_head_portable.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/softmax.h"

namespace ivit::cpu {
namespace {

// The softmax of the row of a query whose scores count only where regions[key] is `region`.
void masked_softmax_row(const int8_t* x, const uint8_t* regions, uint8_t region, const WindowAttention& attention,
                        int16_t* y) {
  const int64_t count = attention.grid.area();
  const Softmax& softmax = attention.softmax;
  int8_t row_max = INT8_MIN;
  for (int64_t key = 0; key < count; ++key) {
    if (regions[key] == region) row_max = std::max(row_max, x[key]);
  }
  const auto exp = [&](int64_t key) {
    return regions[key] == region ? softmax.exponentials[row_max - x[key]] : softmax.masked;
  };
  int64_t sum = 0;
  for (int64_t key = 0; key < count; ++key) sum += exp(key);
  const uint32_t factor = softmax.factor(sum);
  for (int64_t key = 0; key < count; ++key) y[key] = static_cast<int16_t>(softmax.probability(exp(key), factor));
}

}  // namespace

void attend_window_portable(const Window& window, const WindowAttention& attention, int64_t head) {
  const int64_t dim = attention.head_dim;
  const int64_t channels = attention.heads * dim;
  const int64_t places = attention.grid.area();
  const PlacedScores& placed = attention.placed;
  thread_local Scratch<int8_t> memory;
  int8_t* const qkv = memory.get(places * 4 * dim);
  int8_t* const context = qkv + places * 3 * dim;
  for (int64_t place = 0; place < places; ++place) {
    const int8_t* source = window.qkv[place] + head * dim;
    for (int part = 0; part < 3; ++part) std::copy_n(source + part * channels, dim, qkv + (place * 3 + part) * dim);
  }
  PortableHead worker(qkv, {places, dim, 3 * dim, dim}, attention.score_scale,
                      attention.context_scale.from(head * dim));
  const auto softmax = [&](int64_t query, int8_t* scores, int16_t* probabilities) {
    const int16_t* bias = placed.bias(head, query);
    for (int64_t key = 0; key < places; ++key) scores[key] = saturate<int8_t>(placed.scaled(scores[key]) + bias[key]);
    if (window.regions == nullptr) {
      softmax_row(scores, places, attention.softmax, probabilities);
    } else {
      masked_softmax_row(scores, window.regions, window.regions[query], attention, probabilities);
    }
  };
  worker.attend(0, places, softmax, context, dim);
  for (int64_t place = 0; place < places; ++place) {
    if (window.y[place] != nullptr) std::copy_n(context + place * dim, dim, window.y[place] + head * dim);
  }
}

}  // namespace ivit::cpu
