#include "ep/arena.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/integer.h"

namespace ivit::ep {
namespace {

// A cache line; kernels may also read this far behind what they need.
constexpr int64_t kAlignment = 64;

bool meet(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

}  // namespace

ArenaLayout plan_arena(const std::vector<Lifetime>& values) {
  ArenaLayout layout;
  layout.offsets.resize(values.size());
  // Large values first: small ones then fill the gaps.
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a].bytes > values[b].bytes; });
  std::vector<size_t> placed;  // by offset
  for (const size_t index : order) {
    const int64_t bytes = round_up(values[index].bytes, kAlignment) + kAlignment;
    int64_t offset = 0;
    for (const size_t other : placed) {
      if (!meet(values[index], values[other])) continue;
      if (layout.offsets[other] >= offset + bytes) break;
      offset = std::max(offset, layout.offsets[other] + round_up(values[other].bytes, kAlignment) + kAlignment);
    }
    layout.offsets[index] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    const auto place = std::upper_bound(placed.begin(), placed.end(), index,
                                        [&](size_t a, size_t b) { return layout.offsets[a] < layout.offsets[b]; });
    placed.insert(place, index);
  }
  return layout;
}

}  // namespace ivit::ep
