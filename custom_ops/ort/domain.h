// The operators as a domain of ONNX Runtime, with their schemas and kernels.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstdint>

namespace ivit::ort {

constexpr const char* kDomain = "ivit";
// The version of the domain whose operators this library has: OPSET_VERSION of ivit_onnx/opset_version.py.
constexpr int64_t kDomainVersion = IVIT_OPSET_VERSION;

// The one domain of the process. It is never released: session options and sessions refer to it for as long as they
// like, also after the library was unregistered and while the process ends. Throws if ONNX Runtime refuses it.
OrtCustomOpDomain* domain();

}  // namespace ivit::ort
