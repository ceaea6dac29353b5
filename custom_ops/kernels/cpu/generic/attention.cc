// Attention in an image and inside a window: one engine, which differ in what becomes of a row of scores.
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/attention_head.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/softmax.h"

namespace ivit::cpu::generic {
namespace {

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  const auto softmax = [&](int64_t, const int8_t* scores, int16_t* probabilities) {
    softmax_row(scores, tokens.count, attention.softmax, probabilities);
  };
  Head(tokens, attention.score_scale, attention.context_scale.from(head * tokens.head_dim))
      .attend(first, last, softmax);
}

}  // namespace

const AttentionKernel kAttention = {kDotRows, attend};

void attend_window(const Window& window, const WindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  const uint8_t* regions = window.regions;
  const auto softmax = [&](int64_t query, int8_t* scores, int16_t* probabilities) {
    attention.biased.apply(head, query, scores);
    if (regions == nullptr) return softmax_row(scores, tokens.count, attention.softmax, probabilities);
    const auto visible = [&](int64_t key) { return regions[key] == regions[query]; };
    masked_softmax_row(scores, tokens.count, attention.softmax, visible, probabilities);
  };
  Head(tokens, attention.score_scale, attention.context_scale.from(head * tokens.head_dim))
      .attend(0, tokens.count, softmax);
}

}  // namespace ivit::cpu::generic
