// IntWindowAttention: an item is one head of one window. Tokens are gathered by their places, and scores get a second
// scale and a bias before the softmax.
#include "kernels/cuda/attention_block.h"
#include "kernels/cuda/attention_dispatch.h"
#include "kernels/cuda/int_window_attention.h"
#include "kernels/cuda/window_places.h"

namespace ivit::cuda {
namespace {

using attention::Part;
using attention::Problem;

constexpr const char* kName = "IntWindowAttention";

// Shared memory for a place: the row of its token, and its region.
constexpr int64_t kPlaceBytes = 9;

// What every block is told beside the problem.
struct Windows {
  WindowPlaces places;
  const int8_t* padding;  // [3, heads, head_dim]
  const uint4* bias;      // of window_bias(): eight numbers for a lane
  attention::Scale biased;
};

// One head of one window. Its shared memory has the row of every place, int64_t, and the regions of every place, bytes
// in the order of element_place; both up to whole steps.
class WindowItem {
 public:
  // To be made by all threads of a block.
  __device__ __forceinline__ WindowItem(const Problem& problem, const Windows& windows, unsigned number, int8_t* memory)
      : windows_(windows),
        score_(problem.score),
        biased_(windows.biased),
        head_(static_cast<int>(number % static_cast<unsigned>(problem.heads))),
        channels_(int64_t{problem.heads} * problem.head_dim),
        first_channel_(int64_t{head_} * problem.head_dim),
        steps_(attention::step_count(problem.keys)),
        rows_(reinterpret_cast<int64_t*>(memory)),
        regions_(reinterpret_cast<uint8_t*>(memory) + steps_ * attention::kStepKeys * sizeof(int64_t)) {
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
    for (int place = static_cast<int>(threadIdx.x); place < steps_ * attention::kStepKeys;
         place += static_cast<int>(blockDim.x)) {
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
    const int groups = attention::group_count(problem.keys);
    const int64_t group = int64_t{head_} * groups + query / attention::kWarpQueries;
    bias_ = windows_.bias + group * steps_ * 2 * kWarpLanes + lane;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int place = query + lane / 4 + 8 * row;
      query_regions_[row] = place < problem.keys ? regions_[region_index(place)] * 0x01010101u : 0;
    }
  }

  __device__ __forceinline__ void score(const int32_t (&sums)[4], int step, int half, int row,
                                        int32_t (&scores)[4]) const {
    score_.apply_four(sums, scores);
    const uint4 both = __ldg(bias_ + (2 * step + half) * kWarpLanes);
    const uint32_t biases[2] = {row == 0 ? both.x : both.z, row == 0 ? both.y : both.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t bias = static_cast<int16_t>(biases[i / 2] >> (16 * (i % 2)) & 0xffff);
      const int32_t x = attention::clamp_int8(scores[i]);
      if (biased_.upper) {
        scores[i] = bias + biased_.apply_upper<true>(x);
      } else {
        scores[i] = saturate<int8_t>(bias + biased_.apply(x));
      }
    }
  }

  // Whether some keys do not count for some queries, and for which of four keys that is so: bytes that are not zero.
  __device__ __forceinline__ bool masks() const { return mixed_; }
  __device__ __forceinline__ uint32_t differences(int step, int half, int row) const {
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(regions_ + step * attention::kStepKeys);
    return words[lane_index() % 4 * 2 + half] ^ query_regions_[row];
  }
  __device__ __forceinline__ uint32_t masked_exponential(const Problem& problem) const {
    return problem.masked_exponential;
  }

 private:
  static constexpr int region_index(int place) {
    return place / attention::kStepKeys * attention::kStepKeys + attention::element_place(place % attention::kStepKeys);
  }

  const Windows& windows_;
  const attention::Scale& score_;
  const attention::Scale& biased_;
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

template <int kDim, bool kSplit>
__global__ void __launch_bounds__(attention::kMaxWarps* kWarpLanes,
                                  attention::least_blocks(kDim, kSplit, kItemRegisters))
    attend_window(Problem problem, Windows windows) {
  const unsigned blocks = static_cast<unsigned>(problem.query_blocks);
  const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
  int8_t* const memory = shared_memory<int8_t>() + attention::item_offset(kDim, warps, problem.keys);
  WindowItem item(problem, windows, blockIdx.x / blocks, memory);
  attention::attend<kDim, kSplit>(problem, item,
                                  static_cast<int>(blockIdx.x % blocks) * warps * attention::kWarpQueries);
}

template <int kDim, bool kSplit>
struct Kernel {
  static constexpr auto run = attend_window<kDim, kSplit>;
};

}  // namespace

void check_window(const WindowGrid& grid, int64_t head_dim) {
  attention::make_plan(kName, 1, grid.area(), head_dim, kPlaceBytes);
}

std::vector<int16_t> window_bias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position) {
  const int64_t area = grid.area();
  const int64_t groups = divide_up(area, attention::kWarpQueries);
  const int64_t steps = divide_up(area, attention::kStepKeys);
  std::vector<int16_t> bias(static_cast<size_t>(heads * groups * steps * attention::kStepBytes));
  size_t index = 0;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t group = 0; group < groups; ++group) {
      for (int64_t word = 0; word < steps * 2 * kWarpLanes; ++word) {
        const int lane = static_cast<int>(word % kWarpLanes);
        const int half = static_cast<int>(word / kWarpLanes % 2);
        const int64_t step = word / kWarpLanes / 2;
        for (int i = 0; i < 8; ++i) {
          const int64_t query = group * attention::kWarpQueries + lane / 4 + 8 * (i / 4);
          const int64_t key = step * attention::kStepKeys + attention::element_key(lane, half, i % 4);
          const bool inside = query < area && key < area;
          bias[index++] = inside ? relative_position[grid.offset(query, key) * heads + head] : int16_t{0};
        }
      }
    }
  }
  return bias;
}

void int_window_attention(const int8_t* qkv, int64_t images, const AttentionParameters& parameters,
                          const WindowParameters& windows, int8_t* y, Stream stream) {
  const WindowGrid& grid = windows.grid;
  const int64_t items = images * grid.count() * parameters.heads;
  const attention::Plan plan = attention::make_plan(kName, items, grid.area(), parameters.head_dim, kPlaceBytes);
  const Problem problem = attention::make_problem(parameters, qkv, grid.area(), plan, y);
  const Windows of_kernel{make_window_places(grid), windows.padding, reinterpret_cast<const uint4*>(windows.bias),
                          attention::make_scale(windows.biased_multiplier, windows.biased_shift, 128, true)};
  const Launch where{dim3(attention::grid_blocks(kName, items, plan)), plan.warps * kWarpLanes, plan.shared_bytes,
                     stream};
  attention::with_kernel<Kernel>(parameters, [&](auto kernel) { launch(kernel, where, problem, of_kernel); });
}

}  // namespace ivit::cuda
