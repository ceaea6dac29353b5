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
