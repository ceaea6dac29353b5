// Attention in whole images: an item is one head of one image.
#pragma once

#include "kernels/cuda/attention_block.h"
#include "kernels/cuda/attention_dispatch.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda::attention {

// One head of one image.
class ImageItem {
 public:
  __device__ __forceinline__ ImageItem(const Problem& problem, unsigned image, unsigned head)
      : channels_(int64_t{problem.heads} * problem.head_dim),
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

  // Every key counts, and no score has a bias.
  static constexpr bool kBiased = false;
  static constexpr bool masks() { return false; }
  __device__ __forceinline__ uint32_t differences(int, int, int) const { return 0; }

 private:
  int64_t channels_;
  int64_t first_channel_;
  int64_t first_row_;
  const int8_t* first_;
};

template <int kDim, bool kSplit, class Softmax>
__global__ void __launch_bounds__(kMaxWarps* kWarpLanes, least_blocks(kDim, kSplit, 0))
    attend_image(Problem problem, Softmax softmax) {
  const unsigned blocks = static_cast<unsigned>(problem.query_blocks);
  const unsigned heads = static_cast<unsigned>(problem.heads);
  const unsigned number = blockIdx.x / blocks;
  const int queries = static_cast<int>(blockDim.x) / kWarpLanes * kWarpQueries;
  ImageItem item(problem, number / heads, number % heads);
  attend<kDim, kSplit>(problem, softmax, item, static_cast<int>(blockIdx.x % blocks) * queries);
}

// `name` is that of the operator, for errors.
template <class Softmax>
void attend_images(const char* name, const int8_t* qkv, int64_t images, int64_t tokens,
                   const AttentionParameters& parameters, const Softmax& softmax, int8_t* y, Stream stream) {
  const int64_t items = images * parameters.heads;
  const Plan plan = make_plan(name, items, tokens, parameters.head_dim, {Softmax::kScoreBytes, 0});
  const Problem problem = make_problem(parameters, qkv, tokens, plan, y);
  const Launch where{dim3(grid_blocks(name, items, plan)), plan.warps * kWarpLanes, plan.shared_bytes, stream};
  with_kernel(parameters.head_dim, softmax.split, [&](auto dim, auto split) {
    launch(attend_image<decltype(dim)::value, decltype(split)::value, Softmax>, where, problem, softmax);
  });
}

}  // namespace ivit::cuda::attention
