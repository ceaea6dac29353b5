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

}  // namespace ivit::ort
