// A team of threads that stays together for a whole run of a model.
//
// A thread pool that is asked for help at every operator wakes and gathers its threads each time. Here the pool is
// asked once: one thread leads and goes through the operators, the others look for open tasks until the run ends.
// Nothing waits for a thread that has not come: a leader alone does all tasks itself, so teams of concurrent runs may
// share a pool.
#pragma once

#include <onnxruntime_c_api.h>

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>

#include "kernels/cpu/parallel.h"

namespace ivit::ep {

class Team final : public cpu::Parallel {
 public:
  // Leads: the tasks of one operator, done by the leader and whoever helps.
  void run(int64_t count, const std::function<void(int64_t)>& task) const override;
  // Helps until the leader calls `finish`.
  void help() const;
  void finish() { finished_.store(true, std::memory_order_release); }

 private:
  bool take_one(int64_t& index) const;
  void perform(int64_t index) const;

  // The upper half counts operators, the lower half is the next task. A helper takes a task by advancing it, which
  // fails if meanwhile the leader has gone on; while a task is taken and not done, the leader cannot go on.
  mutable std::atomic<uint64_t> ticket_{0};
  mutable std::atomic<int64_t> count_{0};
  mutable std::atomic<int64_t> open_{0};
  mutable const std::function<void(int64_t)>* task_ = nullptr;
  std::atomic<bool> finished_{false};
  mutable std::mutex mutex_;
  mutable std::exception_ptr error_;
};

// Runs body(team) with up to `threads` threads of the session's pool, the calling one among them.
void run_with_team(const OrtKernelContext* context, int64_t threads,
                   const std::function<void(const cpu::Parallel& team)>& body);

}  // namespace ivit::ep
