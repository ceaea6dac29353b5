// The portable attention.
#include "kernels/cpu/attention_head_portable.h"
#include "kernels/cpu/int_attention.h"
#include "kernels/cpu/softmax.h"

namespace ivit::cpu {
namespace {

void attend(const int8_t* qkv, const Attention& attention, int64_t head, int64_t first, int64_t last, int8_t* y) {
  const int64_t channels = attention.heads * attention.head_dim;
  const int64_t first_channel = head * attention.head_dim;
  const HeadShape shape{attention.tokens, attention.head_dim, 3 * channels, channels};
  PortableHead worker(qkv + first_channel, shape, attention.score_scale, attention.context_scale.from(first_channel));
  const auto softmax = [&](int64_t, const int8_t* scores, int16_t* probabilities) {
    softmax_row(scores, attention.tokens, attention.softmax, probabilities);
  };
  worker.attend(first, last, softmax, y + first_channel, channels);
}

}  // namespace

const AttentionKernel kAttentionPortable = {kDotRows, attend};

}  // namespace ivit::cpu
