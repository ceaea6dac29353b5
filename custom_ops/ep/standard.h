// The operators of ONNX that exported models have between those of the domain: some tokens of each image, and their
// channels side by side.
#pragma once

#include "ep/graph.h"
#include "ort/operator.h"

namespace ivit::ep {

// The version of ONNX's operator set that defined the operator as this library knows it; 0 of what it does not know.
int standard_version(const Node& node);

// As bind_node, for a node of the ONNX domain. Throws InvalidArgument for all but
//   Slice    [N, T, C] along T, by one, from and to constants,
//   Flatten  [N, T, C] to [N, T * C],
//   Cast     to int32.
ort::Call bind_standard(const Node& node);

}  // namespace ivit::ep
