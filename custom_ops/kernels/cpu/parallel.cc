// How many tasks a kernel makes.
#include "kernels/cpu/parallel.h"

#include <thread>

namespace ivit::cpu {

int64_t wanted_tasks() {
  static const int64_t wanted = 2 * std::max<int64_t>(1, std::thread::hardware_concurrency());
  return wanted;
}

}  // namespace ivit::cpu
