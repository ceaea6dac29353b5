#include "ep/profile.h"

#include <cstdio>

namespace ivit::ep {

Profile::Profile(const std::vector<Step>& steps)
    : nanoseconds_(new std::atomic<int64_t>[steps.size()]()), runs_(new std::atomic<int64_t>[steps.size()]()) {
  for (const Step& step : steps) names_.push_back(step.name);
}

Profile::~Profile() {
  int64_t total = 0;
  for (size_t i = 0; i < names_.size(); ++i) total += nanoseconds_[i];
  std::fprintf(stderr, "ivit: time of each operator: microseconds a run, share, runs\n");
  for (size_t i = 0; i < names_.size(); ++i) {
    const double time = static_cast<double>(nanoseconds_[i]);
    const int64_t runs = runs_[i];
    std::fprintf(stderr, "ivit: %10.1f %5.1f %% %8lld  %s\n", runs == 0 ? 0 : time / static_cast<double>(runs) / 1e3,
                 total == 0 ? 0 : 100 * time / static_cast<double>(total), static_cast<long long>(runs),
                 names_[i].c_str());
  }
}

void Profile::add(size_t step, std::chrono::steady_clock::duration time) {
  nanoseconds_[step] += std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  ++runs_[step];
}

}  // namespace ivit::ep
