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
inline cpu::PatchGrid patch_grid(const OperatorSpec& spec, const std::vector<int64_t>& attributes, const Dims& dims) {
  const int64_t size = attributes[0];
  const auto fail = [&](const std::string& what, const std::string& expected, int64_t found) {
    throw InvalidArgument(std::string(spec.name) + ": " + what + ": expected " + expected + ", found " +
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

inline cpu::PatchGrid patch_grid(const Call& call) { return patch_grid(call.spec, call.attributes, call.dims); }

}  // namespace ivit::ort
