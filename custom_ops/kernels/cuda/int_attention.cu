// IntAttention in whole images, with probabilities.
#include "kernels/cuda/attention_image.h"
#include "kernels/cuda/int_attention.h"

namespace ivit::cuda {

void int_attention(const int8_t* qkv, int64_t images, int64_t tokens, const AttentionParameters& parameters,
                   const SoftmaxParameters& softmax, int8_t* y, Stream stream) {
  const attention::Scale no_bias{};
  attention::attend_images("IntAttention", qkv, images, tokens, parameters,
                           attention::make_normalized(softmax, no_bias, parameters.head_dim, tokens), y, stream);
}

}  // namespace ivit::cuda
