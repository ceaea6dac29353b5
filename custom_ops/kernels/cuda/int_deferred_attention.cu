// IntDeferredAttention in whole images, with exponentials.
#include "kernels/cuda/attention_deferred.h"
#include "kernels/cuda/attention_image.h"
#include "kernels/cuda/int_deferred_attention.h"

namespace ivit::cuda {

void int_deferred_attention(const int8_t* qkv, int64_t images, int64_t tokens, const AttentionParameters& parameters,
                            const DeviceDeferred& softmax, int8_t* y, Stream stream) {
  attention::attend_images("IntDeferredAttention", qkv, images, tokens, parameters, attention::make_deferred(softmax),
                           y, stream);
}

}  // namespace ivit::cuda
