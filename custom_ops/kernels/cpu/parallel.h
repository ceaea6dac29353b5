// How CPU kernels use several threads without knowing whose threads they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/common/integer.h"

namespace ivit::cpu {

// Runs task(0) .. task(count - 1) in any order, possibly at the same time, and returns when all are done.
class Parallel {
 public:
  virtual void run(int64_t count, const std::function<void(int64_t)>& task) const = 0;

 protected:
  ~Parallel() = default;
};

// How many tasks a kernel should make so that every thread has work: the pool's size is not known here, the
// processors are the most that are of use. A few tasks a thread even out their differences.
int64_t wanted_tasks();

// `total` cut into at most `pieces` of nearly equal size, each but the last a multiple of `multiple`.
class Split {
 public:
  Split(int64_t total, int64_t pieces, int64_t multiple)
      : total_(total),
        units_(divide_up(total, multiple)),
        multiple_(multiple),
        count_(std::max<int64_t>(0, std::min(pieces, units_))) {}

  int64_t count() const { return count_; }
  int64_t begin(int64_t piece) const { return std::min(total_, units_ * piece / count_ * multiple_); }
  int64_t end(int64_t piece) const { return begin(piece + 1); }

 private:
  int64_t total_;
  int64_t units_;
  int64_t multiple_;
  int64_t count_;
};

// Covers rows 0 .. rows-1 by ranges [begin, end) of about 2^14 elements: enough work to be worth a thread.
inline void for_row_ranges(const Parallel& parallel, int64_t rows, int64_t row_length,
                           const std::function<void(int64_t begin, int64_t end)>& body) {
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 14) / std::max<int64_t>(1, row_length));
  parallel.run(divide_up(rows, step), [&](int64_t task) { body(task * step, std::min(rows, (task + 1) * step)); });
}

// Uninitialised scratch memory of one task.
template <class T>
std::unique_ptr<T[]> scratch(int64_t count) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(count)]);
}

}  // namespace ivit::cpu
