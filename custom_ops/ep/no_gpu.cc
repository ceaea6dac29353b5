// The GPU side of a library built for CPUs only.
#include "ep/gpu.h"

namespace ivit::ep {

const Gpu* gpu() { return nullptr; }

}  // namespace ivit::ep
