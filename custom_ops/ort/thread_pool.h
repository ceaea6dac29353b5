// The session's own thread pool, in the form in which kernels use threads.
#pragma once

#include <onnxruntime_c_api.h>

#include "kernels/cpu/parallel.h"

namespace ivit::ort {

// One of the tasks of `parallel_for`.
using ParallelTask = void (*)(void* data, size_t index) noexcept;

// Runs tasks 0 .. count - 1 on the session's threads, KernelContext_ParallelFor.
void parallel_for(const OrtKernelContext* context, ParallelTask task, size_t count, void* data);

class SessionThreadPool final : public cpu::Parallel {
 public:
  explicit SessionThreadPool(const OrtKernelContext* context) : context_(context) {}
  void run(int64_t count, const std::function<void(int64_t)>& task) const override;

 private:
  const OrtKernelContext* context_;
};

}  // namespace ivit::ort
