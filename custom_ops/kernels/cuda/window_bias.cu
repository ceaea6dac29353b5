#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/window_parameters.h"

namespace ivit::cuda {

std::vector<int16_t> window_bias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position) {
  const int64_t area = grid.area();
  const int64_t groups = divide_up(area, attention::kWarpQueries);
  const int64_t steps = divide_up(area, attention::kStepKeys);
  std::vector<int16_t> bias(static_cast<size_t>(heads * groups * steps * attention::kStepScores));
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

}  // namespace ivit::cuda
