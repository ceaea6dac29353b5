// The portable attention inside a window.
#include <algorithm>

#include "kernels/cpu/attention_head_portable.h"
#include "kernels/cpu/int_window_attention.h"
#include "kernels/cpu/shiftmax.h"

namespace ivit::cpu {
namespace {

// Shiftmax of the row of a query whose scores count only where regions[key] is `region`.
void masked_shiftmax_row(const int8_t* x, const uint8_t* regions, uint8_t region, const WindowAttention& attention,
                         int16_t* y) {
  const int64_t count = attention.grid.area();
  const ShiftExpTable& exponential = attention.exponential;
  int8_t row_max = INT8_MIN;
  for (int64_t key = 0; key < count; ++key) {
    if (regions[key] == region) row_max = std::max(row_max, x[key]);
  }
  const auto exp = [&](int64_t key) {
    return int64_t{regions[key] == region ? exponential[x[key] - row_max] : attention.masked};
  };
  int64_t sum = 0;
  for (int64_t key = 0; key < count; ++key) sum += exp(key);
  const int64_t factor = reciprocal(sum);
  for (int64_t key = 0; key < count; ++key) y[key] = probability(exp(key), factor, attention.frac_bits);
}

}  // namespace

void attend_window_portable(const int8_t* qkv, const WindowAttention& attention, int64_t head, const uint8_t* regions,
                            int8_t* y) {
  const int64_t dim = attention.head_dim;
  const int64_t places = attention.grid.area();
  const PlacedScores& placed = attention.placed;
  PortableHead worker(qkv, {places, dim, 3 * dim, dim}, attention.score_scale,
                      attention.context_scale.from(head * dim));
  const auto softmax = [&](int64_t query, int8_t* scores, int16_t* probabilities) {
    const int16_t* bias = placed.bias(head, query);
    for (int64_t key = 0; key < places; ++key) scores[key] = saturate<int8_t>(placed.scaled(scores[key]) + bias[key]);
    if (regions == nullptr) {
      shiftmax_row(scores, places, attention.exponential, attention.frac_bits, probabilities);
    } else {
      masked_shiftmax_row(scores, regions, regions[query], attention, probabilities);
    }
  };
  worker.attend(0, places, softmax, y, dim);
}

}  // namespace ivit::cpu
