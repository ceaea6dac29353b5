// Attention with deferred normalisation with AVX-512, in an image and inside a window.
#include <immintrin.h>

#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx512vnni/attention_head.h"
#include "kernels/cpu/x86/avx512vnni/deferred_exponentials.h"
#include "kernels/cpu/x86/avx512vnni/deferred_scores.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// Sums of values times their row's factor, divided, then requantised. Of a quotient only the lower 32 bits matter, so
// that logical shifts do; even and odd lanes stay apart until the second product is done.
struct DeferredContext {
  __m512i operator()(int row, __m512i sums, int c) const {
    const __m512i factor = _mm512_set1_epi32(factors[row]);
    const LaneScales& scale = scales[c];
    const __m512i even = _mm512_mul_epi32(divide(sums, factor), load(scale.multiplier));
    const __m512i odd = _mm512_mul_epi32(divide(_mm512_srli_epi64(sums, 32), factor), load(scale.multiplier_odd));
    const __m512i high = merge_high(even, odd);
    return _mm512_srav_epi32(_mm512_add_epi32(high, load(scale.rounding)), load(scale.post_shift));
  }

  __m512i divide(__m512i sums, __m512i factor) const {
    return _mm512_srl_epi64(_mm512_add_epi64(_mm512_mul_epi32(sums, factor), half), shift);
  }

  const LaneScales* scales;
  const int32_t* factors;
  __m512i half;
  __m128i shift;
};

template <class Rows>
class DeferredStage {
 public:
  static constexpr int64_t kScoreBytes = 2;

  DeferredStage(const DeferredSoftmax& softmax, int64_t tokens, uint8_t* dither, const Rows& rows,
                const ContextScales& scales)
      : exponentials_(softmax, tokens, dither),
        rows_(rows),
        scores_{_mm_cvtsi32_si128(softmax.score_shift)},
        shift_(softmax.level_bits + 11),
        context_scales_(scales.context) {}

  bool two_bytes() const { return exponentials_.two_bytes(); }
  void score(int64_t registers, const ByteRows& rows, const Columns& columns, const int32_t* starts, uint8_t* y,
             int64_t stride) const {
    kScoreTiles<WordScores>[registers - 1](rows, columns, starts, scores_, y, stride);
  }
  void weights(int64_t first, int64_t count, uint8_t* scores, uint8_t* exponentials) {
    exponentials_.run(rows_, first, count, scores, exponentials, factors_);
  }
  DeferredContext context(int64_t row, int64_t first) const {
    return {context_scales_ + first, factors_ + row, _mm512_set1_epi64(int64_t{1} << (shift_ - 1)),
            _mm_cvtsi32_si128(shift_)};
  }

 private:
  const DeferredExponentials exponentials_;
  const Rows rows_;
  const WordScores scores_;
  const int shift_;
  const LaneScales* const context_scales_;
  int32_t factors_[kScoreRows];
};

// Queries [first, last). Returns false, and has done nothing, if scales need shifts to the left. `Kind` is
// DeferredAttention or DeferredWindowAttention.
template <class Tokens, class Kind, class Rows>
bool attend(const Tokens& tokens, const Kind& attention, int64_t head, int64_t first, int64_t last, const Rows& rows) {
  thread_local SpanMemory memory;
  thread_local Scratch<LaneScales> scale_memory;
  thread_local Scratch<uint8_t> dither_memory;
  const ContextScales scales(attention, head, nullptr, scale_memory.get(ContextScales::blocks(tokens.head_dim)));
  if (scales.shifted()) return false;
  uint8_t* const dither = dither_memory.get(DeferredExponentials::dither_bytes(tokens.count));
  DeferredStage<Rows> stage(attention.softmax, tokens.count, dither, rows, scales);
  Head(tokens, stage, memory).attend(first, last);
  return true;
}

void attend_image(const int8_t* qkv, const DeferredAttention& attention, int64_t head, int64_t first, int64_t last,
                  int8_t* y) {
  const ImageTokens tokens(qkv, attention, head, y);
  if (attend(tokens, attention, head, first, last, ImageRows())) return;
  generic::kDeferredAttention.compute(qkv, attention, head, first, last, y);
}

}  // namespace

const DeferredAttentionKernel kDeferredAttention = {kQueries, attend_image};

void attend_deferred_window(const Window& window, const DeferredWindowAttention& attention, int64_t head) {
  const WindowTokens tokens(window, attention, head);
  const auto attend_rows = [&](const auto& rows) { return attend(tokens, attention, head, 0, tokens.count, rows); };
  const bool done = window.regions == nullptr ? attend_rows(WindowRows<false>(attention, window.regions, head))
                                              : attend_rows(WindowRows<true>(attention, window.regions, head));
  if (!done) generic::attend_deferred_window(window, attention, head);
}

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
