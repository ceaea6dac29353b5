// Questions about the CPU kernels that tests and benchmarks ask through the library's C interface.
#include <exception>
#include <string>

#include "kernels/cpu/processors.h"
#include "kernels/cpu/variant.h"

using ivit::cpu::available_variants;
using ivit::cpu::Variant;

#define IVIT_EXPORT extern "C" __attribute__((visibility("default")))

// Names of the variants that this machine can run, fastest first, separated by commas.
IVIT_EXPORT const char* ivit_cpu_variants() noexcept {
  static const std::string names = [] {
    std::string all;
    for (const Variant* variant : available_variants()) all += (all.empty() ? "" : ",") + std::string(variant->name);
    return all;
  }();
  return names.c_str();
}

// The name of the variant in use, or an empty string if IVIT_CPU names one that is not available.
IVIT_EXPORT const char* ivit_cpu_variant() noexcept {
  try {
    return ivit::cpu::active_variant().name;
  } catch (const std::exception&) {
    return "";
  }
}

// Multiply-adds of 8-bit integers that one thread can do with the instructions of a variant, without touching memory,
// in 10^9 per second, measured for about `seconds`; negative if the variant is not available.
IVIT_EXPORT double ivit_int8_peak_gmacs(const char* name, double seconds) noexcept {
  for (const Variant* variant : available_variants()) {
    if (std::string(variant->name) == name) return variant->peak(seconds);
  }
  return -1;
}

// The quota of processors that the control groups below `root` ("" for this machine's) leave to the process; 0 if there
// is none.
IVIT_EXPORT int64_t ivit_processor_quota(const char* root) noexcept {
  try {
    return ivit::cpu::processor_quota(root);
  } catch (const std::exception&) {
    return 0;
  }
}
