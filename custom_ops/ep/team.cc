#include "ep/team.h"

#include <thread>
#include <utility>

#include "ort/thread_pool.h"

namespace ivit::ep {
namespace {

// Rounds of waiting before a thread lets others run: some microseconds, more than the time between two operators.
constexpr int kSpins = 4096;

// Waits a little; `round` counts how often it did so in a row.
void wait_a_little(int& round) {
  if (++round > kSpins) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr uint64_t kLower = 0xffffffffu;

}  // namespace

bool Team::take_one(int64_t& index) const {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<int64_t>(ticket & kLower) < count_.load(std::memory_order_relaxed)) {
    if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      index = static_cast<int64_t>(ticket & kLower);
      return true;
    }
  }
  return false;
}

void Team::perform(int64_t index) const {
  try {
    if (!stopped_.load(std::memory_order_relaxed)) (*task_)(index);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  open_.fetch_sub(1, std::memory_order_release);
}

void Team::look() const {
  if (stop_()) stopped_.store(true, std::memory_order_relaxed);
}

void Team::run(int64_t count, const std::function<void(int64_t)>& task) const {
  look();
  if (stopped_) throw Stopped();
  if (count <= 0) return;
  if (count == 1) return task(0);
  // No task is open, so nobody reads these now, except for a count that take_one checks by its exchange.
  task_ = &task;
  open_.store(count, std::memory_order_relaxed);
  // Closed while the count changes: a ticket beyond any count.
  const uint64_t next = (ticket_.load(std::memory_order_relaxed) | kLower) + 1;
  ticket_.store(next | kLower, std::memory_order_relaxed);
  count_.store(count, std::memory_order_relaxed);
  ticket_.store(next, std::memory_order_release);
  int64_t index = 0;
  while (take_one(index)) {
    perform(index);
    look();
  }
  int round = 0;
  while (open_.load(std::memory_order_acquire) > 0) wait_a_little(round);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  if (stopped_) throw Stopped();
}

void Team::help() const {
  int round = 0;
  while (!finished_.load(std::memory_order_acquire)) {
    int64_t index = 0;
    if (take_one(index)) {
      perform(index);
      round = 0;
    } else {
      wait_a_little(round);
    }
  }
}

void run_with_team(const OrtKernelContext* context, int64_t threads, const std::function<bool()>& stop,
                   const std::function<void(const cpu::Parallel& team)>& body) {
  struct Shared {
    const std::function<void(const cpu::Parallel&)>& body;
    Team team;
    std::atomic<bool> led{false};
    std::exception_ptr error;
  };
  Shared shared{body, Team(stop), {}, {}};
  const auto join = [](void* data, size_t) noexcept {
    Shared& all = *static_cast<Shared*>(data);
    // Whoever comes first leads.
    if (all.led.exchange(true)) return all.team.help();
    try {
      all.body(all.team);
    } catch (...) {
      all.error = std::current_exception();
    }
    all.team.finish();
  };
  if (threads <= 1) {
    join(&shared, 0);
  } else {
    ort::parallel_for(context, join, static_cast<size_t>(threads), &shared);
  }
  if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace ivit::ep
