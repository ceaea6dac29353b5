// Attention with deferred normalisation with 256-bit registers, in an image and inside a window.
#include <immintrin.h>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx2/attention_head.h"
#include "kernels/cpu/x86/avx2/deferred_exponentials.h"
#include "kernels/cpu/x86/avx2/deferred_scores.h"
#include "kernels/cpu/x86/avx2/kernels.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

template <class Rows>
class DeferredStage {
 public:
  DeferredStage(const DeferredSoftmax& softmax, int64_t tokens, const Rows& rows, const ContextScales& scales)
      : exponentials_(softmax, tokens), rows_(rows), shift_(softmax.level_bits + 11), context_scales_(scales.context) {}

  template <class Values>
  void weights(int64_t query, int64_t row, const int32_t* products, uint8_t* exponentials) {
    factors_[row] = exponentials_.template run<Values>(products, rows_.row(query), exponentials);
  }

  Pair context(int64_t row, const int32_t* sums, int64_t block) const {
    const ChannelScales scale(context_scales_[block]);
    const __m256i factor = _mm256_set1_epi32(factors_[row]);
    return {scale.requantize(divide(load(sums), factor), 0), scale.requantize(divide(load(sums + 8), factor), 8)};
  }

 private:
  // Times the row's factor, divided. Of a quotient only the lower 32 bits matter, so that logical shifts do.
  __m256i divide(__m256i sums, __m256i factor) const {
    const __m256i half = _mm256_set1_epi64x(int64_t{1} << (shift_ - 1));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(sums, factor), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(sums, 32), factor), half);
    return _mm256_blend_epi32(_mm256_srl_epi64(even, _mm_cvtsi32_si128(shift_)),
                              _mm256_sll_epi64(odd, _mm_cvtsi32_si128(32 - shift_)), 0xaa);
  }

  const DeferredExponentials exponentials_;
  const Rows rows_;
  const int shift_;
  const LaneScales* const context_scales_;
  int32_t factors_[kTileRows];
};

// Whether 32-bit lanes did for queries [first, last). `Kind` is DeferredAttention or DeferredWindowAttention.
template <class Operands, class Values, class Tokens, class Kind, class Rows>
bool attend_rows(const Tokens& tokens, const Kind& attention, int64_t head, int64_t first, int64_t last,
                 const Rows& rows) {
  const AlignedArray<LaneScales> memory(ContextScales::blocks(tokens.head_dim));
  const ContextScales scales(attention, head, kTileOrder, memory.get());
  if (!scales.fit(kMostDeferredContext)) return false;
  DeferredStage<Rows> stage(attention.softmax, tokens.count, rows, scales);
  attend<Operands, Values>(tokens, first, last, stage);
  return true;
}

template <class Operands, class Values>
void image_head(const int8_t* qkv, const DeferredAttention& attention, int64_t head, int64_t first, int64_t last,
                int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  if (attend_rows<Operands, Values>(tokens, attention, head, first, last, ImageRows())) return;
  generic::kDeferredAttention.compute(qkv, attention, head, first, last, y);
}

template <class Operands, class Values>
void window_head(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  const auto attend_all = [&](const auto& rows) {
    return attend_rows<Operands, Values>(tokens, attention, head, 0, tokens.count, rows);
  };
  const bool done = window.regions == nullptr ? attend_all(WindowRows<false>{attention, window.regions, head})
                                              : attend_all(WindowRows<true>{attention, window.regions, head});
  if (!done) generic::attend_deferred_window(window, attention, head);
}

void image_head_vnni(const int8_t* qkv, const DeferredAttention& attention, int64_t head, int64_t first, int64_t last,
                     int8_t* y) {
  const auto compute = attention.softmax.level_bits <= 8 ? image_head<AvxVnniOperands, ByteValues>
                                                         : image_head<AvxVnniOperands, PairValues>;
  compute(qkv, attention, head, first, last, y);
}

}  // namespace

const DeferredAttentionKernel kDeferredAttention = {kTileRows, image_head<Avx2Operands, PairValues>};
const DeferredAttentionKernel kDeferredAttentionVnni = {kTileRows, image_head_vnni};

void attend_deferred_window(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  window_head<Avx2Operands, PairValues>(window, attention, head);
}

void attend_deferred_window_vnni(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  const auto compute = attention.softmax.level_bits <= 8 ? window_head<AvxVnniOperands, ByteValues>
                                                         : window_head<AvxVnniOperands, PairValues>;
  compute(window, attention, head);
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
