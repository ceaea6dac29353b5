// How the items of an attention are spread over blocks.
#include <algorithm>
#include <initializer_list>
#include <stdexcept>

#include "kernels/common/integer.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda::attention {
namespace {

// The plan with at most so many warps in a block, the queries spread evenly.
Plan plan_with(int most_warps, int64_t keys, int dim, const Memory& memory) {
  const int64_t groups = divide_up(keys, kWarpQueries);
  const int64_t blocks = divide_up(groups, most_warps);
  const int64_t warps = divide_up(groups, blocks);
  const int64_t steps = divide_up(keys, kStepKeys);
  const int64_t step_bytes = warps * kStepScores * memory.score_bytes + kStepKeys * memory.place_bytes;
  const int64_t bytes = static_cast<int64_t>(score_offset(dim)) + steps * step_bytes;
  return {static_cast<int>(warps), static_cast<int>(blocks), static_cast<size_t>(bytes)};
}

}  // namespace

int padded_head_dim(int64_t head_dim) {
  for (const int dim : {32, 64, 96, 128}) {
    if (head_dim <= dim) return dim;
  }
  return kMaxHeadDim;
}

Plan make_plan(const char* name, int64_t items, int64_t keys, int64_t head_dim, const Memory& memory) {
  const auto fail = [&](const std::string& what, int64_t most, int64_t found) {
    throw std::runtime_error(std::string(name) + ": " + what + ": expected at most " + std::to_string(most) +
                             " on this GPU, found " + std::to_string(found));
  };
  if (head_dim > kMaxHeadDim) fail("channels of a head", kMaxHeadDim, head_dim);
  const Device& device = current_device();
  const int dim = padded_head_dim(head_dim);
  const int64_t free_bytes = static_cast<int64_t>(device.shared_bytes) - static_cast<int64_t>(score_offset(dim));
  const int64_t step_bytes = kStepScores * memory.score_bytes + kStepKeys * memory.place_bytes;
  const int64_t most_keys = free_bytes / step_bytes * kStepKeys;
  if (keys > most_keys) fail("tokens that attend to each other", most_keys, keys);
  // Few items are spread over more blocks, down to one warp each, so that every multiprocessor has two of them.
  Plan plan = plan_with(1, keys, dim, memory);
  for (int warps = 2; warps <= kMaxWarps; warps *= 2) {
    const Plan larger = plan_with(warps, keys, dim, memory);
    if (larger.shared_bytes > device.shared_bytes) break;
    if (items * larger.query_blocks < 2 * device.multiprocessors && larger.query_blocks < plan.query_blocks) break;
    plan = larger;
  }
  return plan;
}

Problem make_problem(const AttentionParameters& parameters, const int8_t* qkv, int64_t keys, const Plan& plan,
                     int8_t* y) {
  const int64_t dim = parameters.head_dim;
  return {qkv,
          y,
          parameters.context,
          parameters.least_context_shift >= kUpperShift,
          static_cast<int>(parameters.heads),
          static_cast<int>(dim),
          dim % 16 == 0  ? 16
          : dim % 4 == 0 ? 4
                         : 1,
          static_cast<int>(keys),
          plan.query_blocks};
}

Normalized make_normalized(const SoftmaxParameters& parameters, const Scale& biased, int64_t head_dim, int64_t keys) {
  constexpr int64_t kLargestProduct = 1 << 14;
  const Softmax& softmax = parameters.softmax;
  // The largest exponential is that of no distance.
  const int64_t largest_sum = keys * softmax.exponentials[0];
  const int factor_shift = softmax.frac_bits == 8 ? 1 : 0;
  return {parameters.exponentials,
          make_scale(parameters.score_multiplier, parameters.score_shift, head_dim * kLargestProduct, false),
          biased,
          softmax.numerator,
          softmax.rounding << factor_shift,
          factor_shift,
          static_cast<uint32_t>(softmax.masked),
          keys == 1 && softmax.rounding == 0,
          largest_sum <= int64_t{UINT32_MAX},
          softmax.frac_bits > 8};
}

unsigned grid_blocks(const char* name, int64_t items, const Plan& plan) {
  const int64_t blocks = items * plan.query_blocks;
  if (blocks > INT32_MAX) {
    throw std::runtime_error(std::string(name) + ": expected at most " + std::to_string(INT32_MAX) +
                             " blocks of a grid, found " + std::to_string(blocks));
  }
  return static_cast<unsigned>(blocks);
}

}  // namespace ivit::cuda::attention
