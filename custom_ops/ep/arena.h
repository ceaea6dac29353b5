// Where the activations of a run stand: one block of memory, in which a place is used again as soon as nobody needs
// what stands there.
#pragma once

#include <cstdint>
#include <vector>

namespace ivit::ep {

struct Lifetime {
  int64_t bytes;
  // The first and the last step, inclusive, at which the value is in use.
  int64_t first;
  int64_t last;
};

struct ArenaLayout {
  std::vector<int64_t> offsets;  // one for each value
  int64_t bytes = 0;
};

// Places values so that those in use at the same time do not overlap. Offsets are multiples of 64.
ArenaLayout plan_arena(const std::vector<Lifetime>& values);

}  // namespace ivit::ep
