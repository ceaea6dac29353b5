// Attention with deferred normalisation, in an image and inside a window.
#include "kernels/common/deferred.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/attention_head.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/requantize.h"

namespace ivit::cpu::generic {
namespace {

// What becomes of the scores of a query before their maximum, and which of its exponentials stay: of an image, all.
struct ImageRows {
  void change(int64_t, int16_t*) const {}
  void hide(int64_t, int16_t*) const {}
};

// In a window scores have a bias, and keys of other regions the least score and no exponential.
struct WindowRows {
  void change(int64_t query, int16_t* scores) const {
    const int16_t* bias = attention.bias.row(head, query);
    for (int64_t key = 0; key < attention.grid.area(); ++key) {
      scores[key] = saturate<int16_t>(scores[key] + bias[key]);
    }
    fill_hidden(query, INT16_MIN, scores);
  }
  void hide(int64_t query, int16_t* exponentials) const { fill_hidden(query, 0, exponentials); }

  void fill_hidden(int64_t query, int16_t value, int16_t* row) const {
    if (regions == nullptr) return;
    for (int64_t key = 0; key < attention.grid.area(); ++key) {
      row[key] = regions[key] == regions[query] ? row[key] : value;
    }
  }

  const DeferredWindowAttention& attention;
  const uint8_t* regions;
  int64_t head;
};

template <class Tokens, class Rows>
class DeferredStage {
 public:
  // `context_scale` counts from the head's first channel.
  DeferredStage(const Tokens& tokens, const DeferredSoftmax& softmax, const Dyadic& context_scale, const Rows& rows)
      : tokens_(tokens),
        softmax_(softmax),
        context_scale_(context_scale),
        rows_(rows),
        dither_(static_cast<size_t>(tokens.count)),
        scores_(static_cast<size_t>(tokens.count)),
        contexts_(static_cast<size_t>(tokens.head_dim)) {
    for (int64_t key = 0; key < tokens.count; ++key) dither_[key] = static_cast<int16_t>(softmax.dither(key));
  }

  void weights(int64_t query, int64_t row, const int32_t* products, int16_t* exponentials) {
    const int64_t count = tokens_.count;
    // Copies, which the compiler knows to stay the same.
    const DeferredSoftmax softmax = softmax_;
    int16_t* const scores = scores_.data();
    for (int64_t key = 0; key < count; ++key) scores[key] = saturate<int16_t>(products[key] >> softmax.score_shift);
    rows_.change(query, scores);
    int16_t largest = INT16_MIN;
    for (int64_t key = 0; key < count; ++key) largest = std::max(largest, scores[key]);
    for (int64_t key = 0; key < count; ++key) {
      exponentials[key] = static_cast<int16_t>(softmax.entry(largest - scores[key]));
    }
    const int16_t* const dither = dither_.data();
    for (int64_t key = 0; key < count; ++key) {
      exponentials[key] = static_cast<int16_t>(softmax.truncated(exponentials[key], dither[key]));
    }
    rows_.hide(query, exponentials);
    int32_t sum = 0;
    for (int64_t key = 0; key < count; ++key) sum += exponentials[key];
    factors_[row] = softmax.factor(sum);
  }

  void context(int64_t row, const int32_t* sums, int8_t* y) {
    for (int64_t d = 0; d < tokens_.head_dim; ++d) contexts_[d] = softmax_.context(sums[d], factors_[row]);
    requantize_row(contexts_.data(), tokens_.head_dim, context_scale_, y);
  }

 private:
  const Tokens& tokens_;
  const DeferredSoftmax softmax_;
  const Dyadic context_scale_;
  const Rows rows_;
  std::vector<int16_t> dither_;
  std::vector<int16_t> scores_;
  std::vector<int32_t> contexts_;
  int32_t factors_[kDotRows];
};

// `Kind` is DeferredAttention or DeferredWindowAttention.
template <class Tokens, class Kind, class Rows>
void attend(const Tokens& tokens, const Kind& attention, int64_t head, int64_t first, int64_t last, const Rows& rows) {
  const Dyadic context_scale = attention.context_scale.from(head * tokens.head_dim);
  Head(tokens).attend(first, last, DeferredStage(tokens, attention.softmax, context_scale, rows));
}

void attend_image(const int8_t* qkv, const DeferredAttention& attention, int64_t head, int64_t first, int64_t last,
                  int8_t* y) {
  attend(ImageTokens(qkv, attention, head, y), attention, head, first, last, ImageRows());
}

}  // namespace

const DeferredAttentionKernel kDeferredAttention = {kDotRows, attend_image};

void attend_deferred_window(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  attend(tokens, attention, head, 0, tokens.count, WindowRows{attention, window.regions, head});
}

}  // namespace ivit::cpu::generic
