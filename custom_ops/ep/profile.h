// The time of every step, if it is asked for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ep/plan.h"

namespace ivit::ep {

// Several runs may add to it at the same time. Writes a table to the standard error stream when it goes.
class Profile {
 public:
  explicit Profile(const std::vector<Step>& steps);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  // Measures a step from its construction to its end; nothing with a null profile.
  class Timer {
   public:
    Timer(Profile* profile, size_t step) : profile_(profile), step_(step) {
      if (profile_ != nullptr) begin_ = std::chrono::steady_clock::now();
    }
    ~Timer() {
      if (profile_ != nullptr) profile_->add(step_, std::chrono::steady_clock::now() - begin_);
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

   private:
    Profile* profile_;
    size_t step_;
    std::chrono::steady_clock::time_point begin_;
  };

 private:
  void add(size_t step, std::chrono::steady_clock::duration time);

  std::vector<std::string> names_;
  std::unique_ptr<std::atomic<int64_t>[]> nanoseconds_;
  std::unique_ptr<std::atomic<int64_t>[]> runs_;
};

}  // namespace ivit::ep
