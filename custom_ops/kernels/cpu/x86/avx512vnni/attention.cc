// Attention in an image with AVX-512: int8 scores, probabilities of one or two bytes.
#include <immintrin.h>

#include "kernels/cpu/attention_scales.h"
#include "kernels/cpu/attention_tokens.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx512vnni/attention_head.h"
#include "kernels/cpu/x86/avx512vnni/byte_softmax.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

class SoftmaxStage {
 public:
  static constexpr int64_t kScoreBytes = 1;

  SoftmaxStage(const Softmax& softmax, int64_t tokens, const HeadScales& scales)
      : two_bytes_(softmax.frac_bits > 8),
        softmax_(softmax, tokens),
        score_scale_(scales.score),
        context_scales_(scales.context) {}

  bool two_bytes() const { return two_bytes_; }
  void score(int64_t registers, const ByteRows& rows, const Columns& columns, const int32_t* starts, uint8_t* y,
             int64_t stride) const {
    score_bytes(registers, score_scale_, rows, columns, starts, y, stride);
  }
  void weights(int64_t, int64_t, uint8_t* scores, uint8_t* probabilities) const {
    two_bytes_ ? softmax_.run<true>(scores, probabilities) : softmax_.run<false>(scores, probabilities);
  }
  RequantizedContext context(int64_t, int64_t first) const { return {context_scales_ + first}; }

 private:
  const bool two_bytes_;
  const ByteSoftmax softmax_;
  const UniformScale score_scale_;
  const LaneScales* const context_scales_;
};

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  thread_local SpanMemory memory;
  thread_local Scratch<LaneScales> scale_memory;
  const ImageTokens tokens(qkv, attention, head, y);
  const HeadScales scales(attention, head, nullptr, scale_memory.get(HeadScales::blocks(tokens.head_dim)));
  if (!scales.fit(tokens.count, attention.softmax)) {
    return generic::kAttention.compute(qkv, attention, head, first, last, y);
  }
  SoftmaxStage stage(attention.softmax, tokens.count, scales);
  Head(tokens, stage, memory).attend(first, last);
}

}  // namespace

const AttentionKernel kAttention = {kQueries, attend};

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
