// The factory of the provider: what ONNX Runtime asks before a session exists.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <vector>

namespace ivit::ep {

class Factory final : public OrtEpFactory {
 public:
  Factory();

 private:
  using MemoryInfo = std::unique_ptr<OrtMemoryInfo, void (*)(OrtMemoryInfo*)>;

  static OrtStatus* ORT_API_CALL supported_devices(OrtEpFactory* self, const OrtHardwareDevice* const* devices,
                                                   size_t count, OrtEpDevice** ep_devices, size_t most,
                                                   size_t* found) noexcept;
  static OrtStatus* ORT_API_CALL create_allocator(OrtEpFactory* self, const OrtMemoryInfo* info,
                                                  const OrtKeyValuePairs* options, OrtAllocator** allocator) noexcept;

  // The memory of each GPU.
  std::vector<MemoryInfo> memory_;
};

}  // namespace ivit::ep
