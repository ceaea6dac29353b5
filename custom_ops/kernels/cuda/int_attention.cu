// IntAttention: an item is one head of one image.
#include "kernels/cuda/attention_block.h"
#include "kernels/cuda/attention_dispatch.h"
#include "kernels/cuda/int_attention.h"

namespace ivit::cuda {
namespace {

using attention::Part;
using attention::Problem;

// One head of one image.
class ImageItem {
 public:
  __device__ __forceinline__ ImageItem(const Problem& problem, unsigned image, unsigned head)
      : score_(problem.score),
        channels_(int64_t{problem.heads} * problem.head_dim),
        first_channel_(int64_t{head} * problem.head_dim),
        first_row_(int64_t{image} * problem.keys),
        first_(problem.qkv + first_row_ * 3 * channels_ + first_channel_) {}

  __device__ __forceinline__ const int8_t* row(int place, Part part) const {
    return first_ + (int64_t{3} * place + part) * channels_;
  }
  __device__ __forceinline__ int8_t* target(const Problem& problem, int place) const {
    return problem.y + (first_row_ + place) * channels_ + first_channel_;
  }
  __device__ __forceinline__ int64_t first_channel() const { return first_channel_; }

  __device__ __forceinline__ void take_queries(const Problem&, int) {}
  __device__ __forceinline__ void score(const int32_t (&sums)[4], int, int, int, int32_t (&scores)[4]) const {
    score_.apply_four(sums, scores);
  }

  // Every key counts.
  static constexpr bool masks() { return false; }
  __device__ __forceinline__ uint32_t differences(int, int, int) const { return 0; }
  __device__ __forceinline__ uint32_t masked_exponential(const Problem&) const { return 0; }

 private:
  const attention::Scale& score_;
  int64_t channels_;
  int64_t first_channel_;
  int64_t first_row_;
  const int8_t* first_;
};

template <int kDim, bool kSplit>
__global__ void __launch_bounds__(attention::kMaxWarps* kWarpLanes, attention::least_blocks(kDim, kSplit, 0))
    attend_image(Problem problem) {
  const unsigned blocks = static_cast<unsigned>(problem.query_blocks);
  const unsigned heads = static_cast<unsigned>(problem.heads);
  const unsigned number = blockIdx.x / blocks;
  const int queries = static_cast<int>(blockDim.x) / kWarpLanes * attention::kWarpQueries;
  ImageItem item(problem, number / heads, number % heads);
  attention::attend<kDim, kSplit>(problem, item, static_cast<int>(blockIdx.x % blocks) * queries);
}

template <int kDim, bool kSplit>
struct Kernel {
  static constexpr auto run = attend_image<kDim, kSplit>;
};

}  // namespace

void int_attention(const int8_t* qkv, int64_t images, int64_t tokens, const AttentionParameters& parameters, int8_t* y,
                   Stream stream) {
  constexpr const char* kName = "IntAttention";
  const int64_t items = images * parameters.heads;
  const attention::Plan plan = attention::make_plan(kName, items, tokens, parameters.head_dim, 0);
  const Problem problem = attention::make_problem(parameters, qkv, tokens, plan, y);
  const Launch where{dim3(attention::grid_blocks(kName, items, plan)), plan.warps * kWarpLanes, plan.shared_bytes,
                     stream};
  attention::with_kernel<Kernel>(parameters, [&](auto kernel) { launch(kernel, where, problem); });
}

}  // namespace ivit::cuda
