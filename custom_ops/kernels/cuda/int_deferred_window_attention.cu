// IntDeferredWindowAttention in windows, with exponentials.
#include "kernels/cuda/attention_deferred.h"
#include "kernels/cuda/attention_window.h"
#include "kernels/cuda/int_deferred_window_attention.h"

namespace ivit::cuda {
namespace {

constexpr const char* kName = "IntDeferredWindowAttention";

}  // namespace

void check_deferred_window(const WindowGrid& grid, int64_t head_dim) {
  attention::plan_windows<attention::Deferred>(kName, 1, grid, head_dim);
}

void int_deferred_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                                   const DeviceDeferred& softmax, const WindowParameters& windows, int8_t* y,
                                   Stream stream) {
  attention::attend_windows(kName, qkv, images, parameters, attention::make_deferred(softmax), windows, y, stream);
}

}  // namespace ivit::cuda
