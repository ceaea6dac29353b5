// The patches of an image as inputs and attributes describe them, for every operator that embeds patches.
#pragma once

#include <string>

#include "kernels/cpu/patches.h"
#include "ort/operator.h"
#include "ort/status.h"

namespace ivit::ort {

inline AttributeSpec patch_size_attribute() { return {"patch_size", {1, 1024}}; }

inline std::string square(int64_t size) { return std::to_string(size) + " x " + std::to_string(size); }

// Images of N times C colours of H x W pixels, K rows of the weight. The first attribute is the size of a patch.
inline cpu::PatchGrid patch_grid(const Call& call) {
  const Dims& dims = call.dims;
  const int64_t size = call.attributes[0];
  const auto fail = [&](const std::string& what, const std::string& expected, int64_t found) {
    throw InvalidArgument(std::string(call.spec.name) + ": " + what + ": expected " + expected + ", found " +
                          std::to_string(found));
  };
  if (dims['H'] % size != 0 || dims['W'] % size != 0) {
    fail("attribute patch_size", "a divisor of the image of " + format_shape(dims.shape("HW")), size);
  }
  if (dims['K'] % (size * size) != 0 || dims['K'] / (size * size) != dims['C']) {
    fail("rows of input weight", std::to_string(dims['C']) + " colours of " + square(size) + " pixels", dims['K']);
  }
  return {{dims['N'], dims['C'], dims['H'], dims['W']}, size};
}

// Throws InvalidArgument unless the position table, of P rows, has one for each patch.
inline void check_positions(const Call& call, const cpu::PatchGrid& grid) {
  if (call.dims['P'] != grid.count()) {
    throw InvalidArgument(std::string(call.spec.name) + ": rows of input position: expected one per patch of " +
                          square(grid.patch_size) + " of the image of " + format_shape(call.dims.shape("HW")) +
                          ", found " + std::to_string(call.dims['P']));
  }
}

}  // namespace ivit::ort
