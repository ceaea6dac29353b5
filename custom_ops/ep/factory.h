// The factory of the provider: what ONNX Runtime asks before a session exists.
#pragma once

#include <onnxruntime_c_api.h>

#include <atomic>
#include <memory>
#include <vector>

namespace ivit::ep {

#if ORT_API_VERSION < 24
// The members of OrtEpFactory since ONNX Runtime 1.24, behind those that the older headers declare.
struct FactoryMembers : OrtEpFactory {
  OrtStatus*(ORT_API_CALL* GetHardwareDeviceIncompatibilityDetails)(OrtEpFactory*, const OrtHardwareDevice*, void*);
  OrtStatus*(ORT_API_CALL* CreateExternalResourceImporterForDevice)(OrtEpFactory*, const OrtEpDevice*, void**);
  OrtStatus*(ORT_API_CALL* GetNumCustomOpDomains)(OrtEpFactory*, size_t* count);
  OrtStatus*(ORT_API_CALL* GetCustomOpDomains)(OrtEpFactory*, OrtCustomOpDomain** domains, size_t count);
};
static_assert(sizeof(FactoryMembers) == sizeof(OrtEpFactory) + 4 * sizeof(void*));
constexpr uint32_t kFactoryVersion = 24;
#else
using FactoryMembers = OrtEpFactory;
constexpr uint32_t kFactoryVersion = ORT_API_VERSION;
#endif

// It lives as long as the process. ONNX Runtime takes it back when the library is unregistered or the environment ends,
// but goes on calling it: sessions release their provider, session options create another one.
class Factory final : public FactoryMembers {
 public:
  Factory();

  // The library is unregistered: no more sessions.
  void close() { closed_ = true; }

 private:
  using MemoryInfo = std::unique_ptr<OrtMemoryInfo, void (*)(OrtMemoryInfo*)>;

  static OrtStatus* ORT_API_CALL supported_devices(OrtEpFactory* self, const OrtHardwareDevice* const* devices,
                                                   size_t count, OrtEpDevice** ep_devices, size_t most,
                                                   size_t* found) noexcept;
  static OrtStatus* ORT_API_CALL create_allocator(OrtEpFactory* self, const OrtMemoryInfo* info,
                                                  const OrtKeyValuePairs* options, OrtAllocator** allocator) noexcept;
  static OrtStatus* ORT_API_CALL create_ep(OrtEpFactory* self, const OrtHardwareDevice* const* devices,
                                           const OrtKeyValuePairs* const* metadata, size_t count,
                                           const OrtSessionOptions* session_options, const OrtLogger* logger,
                                           OrtEp** ep) noexcept;

  std::atomic<bool> closed_{false};
  // The memory of each GPU.
  std::vector<MemoryInfo> memory_;
};

}  // namespace ivit::ep
