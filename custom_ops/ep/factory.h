// The factory of the provider: what ONNX Runtime asks before a session exists.
#pragma once

#include <onnxruntime_c_api.h>

namespace ivit::ep {

class Factory final : public OrtEpFactory {
 public:
  Factory();
};

}  // namespace ivit::ep
