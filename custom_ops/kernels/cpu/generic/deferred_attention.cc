// Attention with deferred normalisation, in an image and inside a window.
#include "kernels/common/deferred.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/attention_head.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/requantize.h"

namespace ivit::cpu::generic {
namespace {

// Every key counts, and scores are products alone.
struct ImageScores {
  int16_t operator()(int64_t, int64_t, int16_t score) const { return score; }
  bool visible(int64_t, int64_t) const { return true; }
};

// With a bias for each pair of tokens, and perhaps regions that do not see each other.
struct WindowScores {
  int16_t operator()(int64_t query, int64_t key, int16_t score) const {
    return saturate<int16_t>(score + bias.row(head, query)[key]);
  }
  bool visible(int64_t query, int64_t key) const { return regions == nullptr || regions[query] == regions[key]; }

  const RelativePositionBias& bias;
  int64_t head;
  const uint8_t* regions;
};

template <class Tokens, class Scores>
class DeferredStage {
 public:
  // `context_scale` counts from the head's first channel.
  DeferredStage(const Tokens& tokens, const DeferredSoftmax& softmax, const Dyadic& context_scale, const Scores& scores)
      : tokens_(tokens),
        softmax_(softmax),
        context_scale_(context_scale),
        adjust_(scores),
        scores_(static_cast<size_t>(tokens.count)),
        contexts_(static_cast<size_t>(tokens.head_dim)) {}

  void weights(int64_t query, int64_t row, const int32_t* products, int16_t* exponentials) {
    int16_t largest = INT16_MIN;
    for (int64_t key = 0; key < tokens_.count; ++key) {
      scores_[key] = adjust_(query, key, saturate<int16_t>(products[key] >> softmax_.score_shift));
      if (adjust_.visible(query, key)) largest = std::max(largest, scores_[key]);
    }
    int32_t sum = 0;
    for (int64_t key = 0; key < tokens_.count; ++key) {
      // A key that does not count may be above the maximum.
      const int32_t distance = std::max(0, largest - scores_[key]);
      const int32_t exponential = softmax_.exponential(softmax_.entry(distance), key);
      exponentials[key] = static_cast<int16_t>(adjust_.visible(query, key) ? exponential : 0);
      sum += exponentials[key];
    }
    factors_[row] = softmax_.factor(sum);
  }

  void context(int64_t row, const int32_t* sums, int8_t* y) {
    for (int64_t d = 0; d < tokens_.head_dim; ++d) contexts_[d] = softmax_.context(sums[d], factors_[row]);
    requantize_row(contexts_.data(), tokens_.head_dim, context_scale_, y);
  }

 private:
  const Tokens& tokens_;
  const DeferredSoftmax& softmax_;
  const Dyadic context_scale_;
  const Scores adjust_;
  std::vector<int16_t> scores_;
  std::vector<int32_t> contexts_;
  int32_t factors_[kDotRows];
};

// `Kind` is DeferredAttention or DeferredWindowAttention.
template <class Tokens, class Kind, class Scores>
void attend(const Tokens& tokens, const Kind& attention, int64_t head, int64_t first, int64_t last,
            const Scores& scores) {
  const Dyadic context_scale = attention.context_scale.from(head * tokens.head_dim);
  Head(tokens).attend(first, last, DeferredStage(tokens, attention.softmax, context_scale, scores));
}

void attend_image(const int8_t* qkv, const DeferredAttention& attention, int64_t head, int64_t first, int64_t last,
                  int8_t* y) {
  attend(ImageTokens(qkv, attention, head, y), attention, head, first, last, ImageScores());
}

}  // namespace

const DeferredAttentionKernel kDeferredAttention = {kDotRows, attend_image};

void attend_deferred_window(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  attend(tokens, attention, head, 0, tokens.count, WindowScores{attention.bias, head, window.regions});
}

}  // namespace ivit::cpu::generic
