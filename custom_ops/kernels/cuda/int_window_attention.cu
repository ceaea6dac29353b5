// IntWindowAttention in windows, with probabilities.
#include "kernels/cuda/attention_window.h"
#include "kernels/cuda/int_window_attention.h"

namespace ivit::cuda {
namespace {

constexpr const char* kName = "IntWindowAttention";

}  // namespace

void check_window(const WindowGrid& grid, int64_t head_dim) {
  attention::plan_windows<attention::Normalized>(kName, 1, grid, head_dim);
}

void int_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                          const SoftmaxParameters& softmax, const BiasedScale& biased, const WindowParameters& windows,
                          int8_t* y, Stream stream) {
  const attention::Scale scale = attention::make_scale(biased.multiplier, biased.shift, 128, true);
  const attention::Normalized normalized =
      attention::make_normalized(softmax, scale, parameters.head_dim, windows.grid.area());
  attention::attend_windows(kName, qkv, images, parameters, normalized, windows, y, stream);
}

}  // namespace ivit::cuda
