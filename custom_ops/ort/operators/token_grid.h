// The grid of tokens that two attributes describe.
#pragma once

#include <string>

#include "ort/operator.h"
#include "ort/status.h"

namespace ivit::ort {

inline AttributeSpec height_attribute() { return {"height", {1, 65536}}; }
inline AttributeSpec width_attribute() { return {"width", {1, 65536}}; }

// Throws InvalidArgument unless there are height x width tokens.
inline void check_grid(const Call& call, int64_t tokens, int64_t height, int64_t width) {
  if (tokens == height * width) return;
  throw InvalidArgument(std::string(call.spec.name) + ": shape of input " + call.spec.inputs[0].name + ": expected " +
                        std::to_string(height) + " x " + std::to_string(width) + " tokens, found " +
                        std::to_string(tokens));
}

// Throws InvalidArgument unless squares of 2 x 2 of L tokens with C channels fit a weight of K rows.
inline void check_merge(const Call& call, int64_t height, int64_t width) {
  check_grid(call, call.dims['L'], height, width);
  if (call.dims['K'] % 4 == 0 && call.dims['K'] / 4 == call.dims['C']) return;
  throw InvalidArgument(std::string(call.spec.name) + ": rows of input weight: expected 4 * C with C = " +
                        std::to_string(call.dims['C']) + ", found " + std::to_string(call.dims['K']));
}

}  // namespace ivit::ort
