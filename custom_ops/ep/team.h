// A team of threads that stays together for a whole run of a model.
//
// A thread pool that is asked for help at every operator wakes and gathers its threads each time. Here the pool is
// asked once: one thread leads and goes through the operators, the others look for open tasks until the run ends.
// Nothing waits for a thread that has not come: a leader alone does all tasks itself, so teams of concurrent runs may
// share a pool. A run that is to stop does no more tasks, and ends at the next operator at the latest.
#pragma once

#include <onnxruntime_c_api.h>

#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "kernels/cpu/parallel.h"

namespace ivit::ep {

// What Team::run throws when the run is to stop; some tasks were not done.
class Stopped : public std::runtime_error {
 public:
  Stopped() : std::runtime_error("ivit: the run was stopped: the terminate flag of its options is set") {}
};

class Team final : public cpu::Parallel {
 public:
  // The leader asks `stop` between tasks.
  explicit Team(std::function<bool()> stop = [] { return false; }) : stop_(std::move(stop)) {}

  // Leads: the tasks of one operator, done by the leader and whoever helps. Throws Stopped if the run is to stop.
  void run(int64_t count, const std::function<void(int64_t)>& task) const override;
  // Helps until the leader calls `finish`.
  void help() const;
  void finish() { finished_.store(true, std::memory_order_release); }

 private:
  bool take_one(int64_t& index) const;
  void perform(int64_t index) const;
  void look() const;

  const std::function<bool()> stop_;
  mutable std::atomic<bool> stopped_{false};
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

// Runs body(team) with up to `threads` threads of the session's pool, the calling one among them. One thread at a time
// asks `stop`, not always the calling one.
void run_with_team(const OrtKernelContext* context, int64_t threads, const std::function<bool()>& stop,
                   const std::function<void(const cpu::Parallel& team)>& body);

}  // namespace ivit::ep
