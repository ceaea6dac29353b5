// How much memory of GPUs a thread has taken.
#pragma once

#include <cstddef>

namespace ivit::cuda {

// Bytes so far; what is made in between is told by the difference.
size_t allocated_bytes();

}  // namespace ivit::cuda
