// Attention in an image and inside a window: one engine, which differ in what becomes of a row of scores.
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/attention_head.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/requantize.h"
#include "kernels/cpu/softmax.h"

namespace ivit::cpu::generic {
namespace {

// int8 scores, and softmax(query, scores, probabilities), which may change them.
template <class Tokens, class SoftmaxRow>
class SoftmaxStage {
 public:
  // `Kind` is Attention or WindowAttention.
  template <class Kind>
  SoftmaxStage(const Tokens& tokens, const Kind& attention, int64_t head, const SoftmaxRow& softmax)
      : tokens_(tokens),
        score_scale_(attention.score_scale),
        context_scale_(attention.context_scale.from(head * tokens.head_dim)),
        softmax_(softmax),
        scores_(static_cast<size_t>(tokens.count)) {}

  void weights(int64_t query, int64_t, const int32_t* products, int16_t* probabilities) {
    requantize_row(products, tokens_.count, score_scale_, scores_.data());
    softmax_(query, scores_.data(), probabilities);
  }

  void context(int64_t, const int32_t* sums, int8_t* y) const {
    requantize_row(sums, tokens_.head_dim, context_scale_, y);
  }

 private:
  const Tokens& tokens_;
  const Dyadic score_scale_;
  const Dyadic context_scale_;
  const SoftmaxRow& softmax_;
  std::vector<int8_t> scores_;
};

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  const auto softmax = [&](int64_t, const int8_t* scores, int16_t* probabilities) {
    softmax_row(scores, tokens.count, attention.softmax, probabilities);
  };
  Head(tokens).attend(first, last, SoftmaxStage(tokens, attention, head, softmax));
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
  Head(tokens).attend(0, tokens.count, SoftmaxStage(tokens, attention, head, softmax));
}

}  // namespace ivit::cpu::generic
