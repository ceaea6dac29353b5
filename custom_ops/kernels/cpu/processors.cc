#include "kernels/cpu/processors.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace ivit::cpu {
namespace {

// Processors that the process is allowed to run on.
int64_t allowed() {
#ifdef __linux__
  cpu_set_t masks[16];  // 16384 processors
  if (sched_getaffinity(0, sizeof masks, masks) == 0) return CPU_COUNT_S(sizeof masks, masks);
#endif
  return std::thread::hardware_concurrency();
}

// Takes `quota` out of every `period` microseconds into account; a quota that is no positive number is none.
void tighten(int64_t& least, int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return;
  const int64_t whole = std::max<int64_t>(1, quota / period);
  least = least == 0 ? whole : std::min(least, whole);
}

// Calls visit(folder) with the folder of the group `path` below `mount`, and with those of all groups above it. A
// container sees its own group as the root, and may be told a path that it has no folder for.
template <class Visit>
void for_each_group(const std::string& mount, std::string path, const Visit& visit) {
  if (path.find("..") != std::string::npos) path.clear();  // the group is outside of what can be seen
  while (!path.empty()) {
    if (path.back() != '/') visit(mount + path);
    path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
  visit(mount);
}

bool has_cpu(const std::string& controllers) { return ("," + controllers + ",").find(",cpu,") != std::string::npos; }

}  // namespace

int64_t processor_quota(const std::string& root) {
  int64_t least = 0;
  std::ifstream groups(root + "/proc/self/cgroup");
  // HIERARCHY:CONTROLLERS:PATH, without controllers in version 2.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
        for_each_group(root + mount, path, [&](const std::string& folder) {
          int64_t quota = 0, period = 0;
          std::ifstream file(folder + "/cpu.max");  // "max" is no number
          if (file >> quota >> period) tighten(least, quota, period);
        });
      }
    } else if (has_cpu(controllers)) {
      for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
        for_each_group(root + mount, path, [&](const std::string& folder) {
          int64_t quota = 0, period = 0;
          std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
          std::ifstream(folder + "/cpu.cfs_period_us") >> period;
          tighten(least, quota, period);
        });
      }
    }
  }
  return least;
}

int64_t processors() {
  static const int64_t count = [] {
    const int64_t most = std::max<int64_t>(1, allowed());
    const int64_t quota = processor_quota("");
    return quota == 0 ? most : std::min(most, quota);
  }();
  return count;
}

}  // namespace ivit::cpu
