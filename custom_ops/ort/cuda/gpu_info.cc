// Questions about GPUs that tests ask through the library's C interface; a library for CPUs only has no such function.
#include "kernels/cuda/runtime.h"

// Number of GPUs that can be used; 0 without a driver.
extern "C" __attribute__((visibility("default"))) int ivit_gpu_count() noexcept { return ivit::cuda::device_count(); }
