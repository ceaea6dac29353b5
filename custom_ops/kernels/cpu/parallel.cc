// How many tasks a kernel makes.
#include "kernels/cpu/parallel.h"

#include "kernels/cpu/processors.h"

namespace ivit::cpu {

int64_t wanted_tasks() { return 2 * processors(); }

}  // namespace ivit::cpu
