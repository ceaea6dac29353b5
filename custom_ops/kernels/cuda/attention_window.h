// Attention in windows: an item is one head of one window. Tokens are gathered by their places, and scores get a bias
// before the softmax.
#pragma once

#include "kernels/cuda/attention_block.h"
#include "kernels/cuda/attention_dispatch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/window_parameters.h"
#include "kernels/cuda/window_places.h"

namespace ivit::cuda::attention {

// Shared memory for a place: the row of its token, and its region.
constexpr int64_t kPlaceBytes = 9;

// What every block is told beside the problem.
struct Windows {
  WindowPlaces places;
  const int8_t* padding;  // [3, heads, head_dim]
  const uint4* bias;      // of window_bias(): eight numbers for a lane
};

// One head of one window. Its shared memory has the row of every place, int64_t, and the regions of every place, bytes
// in the order of element_place; both up to whole steps.
class WindowItem {
 public:
  // To be made by all threads of a block.
  __device__ __forceinline__ WindowItem(const Problem& problem, const Windows& windows, unsigned number, int8_t* memory)
      : windows_(windows),
        head_(static_cast<int>(number % static_cast<unsigned>(problem.heads))),
        channels_(int64_t{problem.heads} * problem.head_dim),
        first_channel_(int64_t{head_} * problem.head_dim),
        steps_(step_count(problem.keys)),
        rows_(reinterpret_cast<int64_t*>(memory)),
        regions_(reinterpret_cast<uint8_t*>(memory) + steps_ * kStepKeys * sizeof(int64_t)) {
    const WindowPlaces& places = windows.places;
    const unsigned columns = static_cast<unsigned>(places.across);
    const unsigned window_row = number / static_cast<unsigned>(problem.heads) / columns;
    const unsigned image = window_row / static_cast<unsigned>(places.down);
    const int down = static_cast<int>(window_row % static_cast<unsigned>(places.down));
    const int across = static_cast<int>(number / static_cast<unsigned>(problem.heads) % columns);
    const int64_t tokens = int64_t{places.height} * places.width;
    qkv_ = problem.qkv + image * tokens * 3 * channels_ + first_channel_;
    y_ = problem.y + image * tokens * channels_ + first_channel_;
    mixed_ = places.mixed(down, across);
    for (int place = static_cast<int>(threadIdx.x); place < steps_ * kStepKeys; place += static_cast<int>(blockDim.x)) {
      const bool inside = place < problem.keys;
      rows_[place] = inside ? places.token(down, across, place) : WindowGrid::kPadding;
      regions_[region_index(place)] = inside ? places.region(down, across, place) : uint8_t{0};
    }
    __syncthreads();
  }

  __device__ __forceinline__ const int8_t* row(int place, Part part) const {
    const int64_t token = rows_[place];
    const int8_t* const first =
        token == WindowGrid::kPadding ? windows_.padding + first_channel_ : qkv_ + token * 3 * channels_;
    return first + part * channels_;
  }
  __device__ __forceinline__ int8_t* target(const Problem&, int place) const {
    const int64_t token = rows_[place];
    return token == WindowGrid::kPadding ? nullptr : y_ + token * channels_;
  }
  __device__ __forceinline__ int64_t first_channel() const { return first_channel_; }

  // The warp's queries from now on: 16, of which at least one is a place of the window.
  __device__ __forceinline__ void take_queries(const Problem& problem, int query) {
    const int lane = lane_index();
    const int groups = group_count(problem.keys);
    const int64_t group = int64_t{head_} * groups + query / kWarpQueries;
    bias_ = windows_.bias + group * steps_ * 2 * kWarpLanes + lane;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int place = query + lane / 4 + 8 * row;
      query_regions_[row] = place < problem.keys ? regions_[region_index(place)] * 0x01010101u : 0;
    }
  }

  // Those of four keys of one of the lane's rows.
  static constexpr bool kBiased = true;
  __device__ __forceinline__ void biases(int step, int half, int row, int32_t (&four)[4]) const {
    const uint4 both = __ldg(bias_ + (2 * step + half) * kWarpLanes);
    const uint32_t words[2] = {row == 0 ? both.x : both.z, row == 0 ? both.y : both.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) four[i] = static_cast<int16_t>(words[i / 2] >> (16 * (i % 2)) & 0xffff);
  }

  // Whether some keys do not count for some queries, and for which of four keys that is so: bytes that are not zero.
  __device__ __forceinline__ bool masks() const { return mixed_; }
  __device__ __forceinline__ uint32_t differences(int step, int half, int row) const {
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(regions_ + step * kStepKeys);
    return words[lane_index() % 4 * 2 + half] ^ query_regions_[row];
  }

 private:
  static constexpr int region_index(int place) {
    return place / kStepKeys * kStepKeys + element_place(place % kStepKeys);
  }

  const Windows& windows_;
  int head_;
  int64_t channels_;
  int64_t first_channel_;
  int steps_;
  int64_t* rows_;
  uint8_t* regions_;
  const int8_t* qkv_;
  int8_t* y_;
  bool mixed_;
  const uint4* bias_;
  uint32_t query_regions_[2];
};

// What a window takes beside the sums.
constexpr int kItemRegisters = 8;

template <int kDim, bool kSplit, class Softmax>
__global__ void __launch_bounds__(kMaxWarps* kWarpLanes, least_blocks(kDim, kSplit, kItemRegisters))
    attend_window(Problem problem, Softmax softmax, Windows windows) {
  const unsigned blocks = static_cast<unsigned>(problem.query_blocks);
  const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
  int8_t* const memory = shared_memory<int8_t>() + item_offset(kDim, warps, problem.keys, Softmax::kScoreBytes);
  WindowItem item(problem, windows, blockIdx.x / blocks, memory);
  attend<kDim, kSplit>(problem, softmax, item, static_cast<int>(blockIdx.x % blocks) * warps * kWarpQueries);
}

// `name` is that of the operator, for errors.
template <class Softmax>
Plan plan_windows(const char* name, int64_t items, const WindowGrid& grid, int64_t head_dim) {
  return make_plan(name, items, grid.area(), head_dim, {Softmax::kScoreBytes, kPlaceBytes});
}

template <class Softmax>
void attend_windows(const char* name, const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                    const Softmax& softmax, const WindowParameters& windows, int8_t* y, Stream stream) {
  const WindowGrid& grid = windows.grid;
  const int64_t items = images * grid.count() * parameters.heads;
  const Plan plan = plan_windows<Softmax>(name, items, grid, parameters.head_dim);
  const Problem problem = make_problem(parameters, qkv, grid.area(), plan, y);
  const Windows of_kernel{make_window_places(grid), windows.padding, reinterpret_cast<const uint4*>(windows.bias)};
  const Launch where{dim3(grid_blocks(name, items, plan)), plan.warps * kWarpLanes, plan.shared_bytes, stream};
  with_kernel(parameters.head_dim, softmax.split, [&](auto dim, auto split) {
    launch(attend_window<decltype(dim)::value, decltype(split)::value, Softmax>, where, problem, softmax, of_kernel);
  });
}

}  // namespace ivit::cuda::attention
