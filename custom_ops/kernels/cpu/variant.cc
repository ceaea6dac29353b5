// The variants of the CPU kernels and the choice between them.
#include "kernels/cpu/variant.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace ivit::cpu {

// The build writes the list of rows for its processor, fastest first: see sources.cmake.
#define IVIT_VARIANT(row) extern const Variant row;
#include "cpu_variants.inc"
#undef IVIT_VARIANT

namespace {

constexpr const Variant* kVariants[] = {
#define IVIT_VARIANT(row) &row,
#include "cpu_variants.inc"
#undef IVIT_VARIANT
};

const Variant* choose() {
  const char* forced = std::getenv("IVIT_CPU");
  if (forced == nullptr || *forced == '\0') return available_variants().front();
  std::string names;
  for (const Variant* variant : available_variants()) {
    if (variant->name == std::string(forced)) return variant;
    names += (names.empty() ? "" : ", ") + std::string(variant->name);
  }
  throw std::runtime_error("IVIT_CPU=" + std::string(forced) +
                           " is not available on this machine; available: " + names);
}

}  // namespace

const std::vector<const Variant*>& available_variants() {
  static const std::vector<const Variant*> available = [] {
    std::vector<const Variant*> found;
    for (const Variant* variant : kVariants) {
      if (variant->supported()) found.push_back(variant);
    }
    return found;
  }();
  return available;
}

const Variant& active_variant() {
  static const Variant* const active = choose();
  return *active;
}

}  // namespace ivit::cpu
