// The session's own thread pool, in the form in which kernels use threads.
#include "ort/thread_pool.h"

#include <exception>
#include <mutex>

#include "ort/status.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

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

#ifdef __SANITIZE_THREAD__

struct Ordered {
  ParallelTask task;
  void* data;
};

void run_ordered(void* ordered, size_t index) noexcept {
  __tsan_acquire(ordered);
  static_cast<Ordered*>(ordered)->task(static_cast<Ordered*>(ordered)->data, index);
  __tsan_release(ordered);
}

#endif

}  // namespace

void parallel_for(const OrtKernelContext* context, ParallelTask task, size_t count, void* data) {
#ifdef __SANITIZE_THREAD__
  // ONNX Runtime orders what is before the tasks, the tasks, and what is after them, but is not compiled for the thread
  // sanitizer, which has to be told.
  Ordered ordered{task, data};
  __tsan_release(&ordered);
  check(api().KernelContext_ParallelFor(context, run_ordered, count, 0, &ordered));
  __tsan_acquire(&ordered);
#else
  check(api().KernelContext_ParallelFor(context, task, count, 0, data));
#endif
}

void SessionThreadPool::run(int64_t count, const std::function<void(int64_t)>& task) const {
  if (count <= 0) return;
  if (count == 1) return task(0);
  Tasks tasks{task, {}, {}};
  parallel_for(context_, run_task, static_cast<size_t>(count), &tasks);
  if (tasks.error) std::rethrow_exception(tasks.error);
}

}  // namespace ivit::ort
