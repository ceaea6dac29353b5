// Attention in an image and inside a window with 256-bit registers: int8 scores and probabilities.
#include <immintrin.h>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx2/attention_head.h"
#include "kernels/cpu/x86/avx2/attention_softmax.h"
#include "kernels/cpu/x86/avx2/kernels.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

// softmax(query, scores, Values(), probabilities) takes the int8 scores of a query, with room up to a multiple of 32.
template <class SoftmaxRow>
class SoftmaxStage {
 public:
  SoftmaxStage(int64_t tokens, const HeadScales& scales, const SoftmaxRow& softmax)
      : tokens_(tokens),
        score_scale_(scales.score),
        context_scales_(scales.context),
        softmax_(softmax),
        scores_(round_up(tokens, 32)) {}

  template <class Values>
  void weights(int64_t query, int64_t, const int32_t* products, uint8_t* probabilities) const {
    for (int64_t t = 0; t < tokens_; t += kTileColumns) {
      const __m256i packed =
          pack({score_scale_.requantize(load(products + t)), score_scale_.requantize(load(products + t + 8))});
      _mm_storeu_si128(reinterpret_cast<__m128i*>(scores_.get() + t), pack_bytes(packed));
    }
    softmax_(query, scores_.get(), Values(), probabilities);
  }

  Pair context(int64_t, const int32_t* sums, int64_t block) const {
    const ChannelScales scale(context_scales_[block]);
    return {scale.requantize(load(sums), 0), scale.requantize(load(sums + 8), 8)};
  }

 private:
  const int64_t tokens_;
  const UniformScale score_scale_;
  const LaneScales* const context_scales_;
  const SoftmaxRow& softmax_;
  const AlignedArray<int8_t> scores_;
};

template <class Operands, class Values>
void image_head(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  const AlignedArray<LaneScales> memory(HeadScales::blocks(tokens.head_dim));
  const HeadScales scales(attention, head, kTileOrder, memory.get());
  if (!scales.fit(tokens.count, attention.softmax)) {
    return generic::kAttention.compute(qkv, attention, head, first, last, y);
  }
  const RowSoftmax softmax(attention.softmax, tokens.count);
  const auto softmax_row = [&](int64_t, int8_t* scores, auto values, uint8_t* probabilities) {
    softmax.run<decltype(values)>(scores, AllVisible(), probabilities);
  };
  SoftmaxStage stage(tokens.count, scales, softmax_row);
  attend<Operands, Values>(tokens, first, last, stage);
}

template <class Operands, class Values>
void window_head(const Window& window, const WindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  const AlignedArray<LaneScales> memory(HeadScales::blocks(tokens.head_dim));
  const HeadScales scales(attention, head, kTileOrder, memory.get());
  if (!scales.fit(tokens.count, attention.softmax)) return generic::attend_window(window, attention, head);
  const RowSoftmax softmax(attention.softmax, tokens.count);
  const uint8_t* regions = window.regions;
  const auto softmax_row = [&](int64_t query, int8_t* scores, auto values, uint8_t* probabilities) {
    using Weights = decltype(values);
    attention.biased.apply(head, query, scores);
    if (regions == nullptr) return softmax.run<Weights>(scores, AllVisible(), probabilities);
    softmax.run<Weights>(scores, SameRegion(regions, query, attention.softmax), probabilities);
  };
  SoftmaxStage stage(tokens.count, scales, softmax_row);
  attend<Operands, Values>(tokens, 0, tokens.count, stage);
}

void image_head_vnni(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last,
                     int8_t* y) {
  const auto compute = attention.softmax.frac_bits <= 8 ? image_head<AvxVnniOperands, ByteValues>
                                                        : image_head<AvxVnniOperands, PairValues>;
  compute(qkv, attention, head, first, last, y);
}

}  // namespace

const AttentionKernel kAttention = {kTileRows, image_head<Avx2Operands, PairValues>};
const AttentionKernel kAttentionVnni = {kTileRows, image_head_vnni};

void attend_window(const Window& window, const WindowAttention& attention, int64_t head) {
  window_head<Avx2Operands, PairValues>(window, attention, head);
}

void attend_window_vnni(const Window& window, const WindowAttention& attention, int64_t head) {
  const auto compute = attention.softmax.frac_bits <= 8 ? window_head<AvxVnniOperands, ByteValues>
                                                        : window_head<AvxVnniOperands, PairValues>;
  compute(window, attention, head);
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
