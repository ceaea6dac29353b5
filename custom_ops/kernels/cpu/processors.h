// How many processors this process may keep busy: what threads and tasks are counted by.
#pragma once

#include <cstdint>
#include <string>

namespace ivit::cpu {

// Those of the affinity mask, and no more than the quota of the process; at least 1. Found out once.
int64_t processors();

// The whole processors of the tightest quota (cpu.max, or cpu.cfs_quota_us) of the process's control group and of those
// above it, at least 1; 0 without a quota. The part of a processor that is left over would stop one more thread for
// most of every period. The files are read below `root`, which is "" but in tests.
int64_t processor_quota(const std::string& root);

}  // namespace ivit::cpu
