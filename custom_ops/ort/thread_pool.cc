// The session's own thread pool, in the form in which kernels use threads.
#include "ort/thread_pool.h"

#include <exception>
#include <mutex>

#include "ort/status.h"

namespace ivit::ort {
namespace {

// No exception may leave a task: it would unwind through ONNX Runtime's worker threads. The first one is kept.
struct Tasks {
  const std::function<void(int64_t)>& task;
  std::mutex mutex;
  std::exception_ptr error;
};

void run_task(void* data, size_t index) noexcept {
  Tasks& tasks = *static_cast<Tasks*>(data);
  try {
    tasks.task(static_cast<int64_t>(index));
  } catch (...) {
    const std::lock_guard<std::mutex> lock(tasks.mutex);
    tasks.error = std::current_exception();
  }
}

}  // namespace

void SessionThreadPool::run(int64_t count, const std::function<void(int64_t)>& task) const {
  if (count <= 0) return;
  if (count == 1) return task(0);
  Tasks tasks{task, {}, {}};
  check(api().KernelContext_ParallelFor(context_, run_task, static_cast<size_t>(count), 0, &tasks));
  if (tasks.error) std::rethrow_exception(tasks.error);
}

}  // namespace ivit::ort
