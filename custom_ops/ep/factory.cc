#include "ep/factory.h"

#include <memory>
#include <string>

#include "ep/provider.h"
#include "kernels/cpu/variant.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::guarded;

constexpr const char* kVendor = "ivit-onnx";
constexpr const char* kVersion = IVIT_VERSION;

OrtStatus* ORT_API_CALL supported_devices(OrtEpFactory* self, const OrtHardwareDevice* const* devices, size_t count,
                                          OrtEpDevice** ep_devices, size_t most, size_t* found) noexcept {
  return guarded([&] {
    *found = 0;
    for (size_t i = 0; i < count && *found < most; ++i) {
      if (api().HardwareDevice_Type(devices[i]) != OrtHardwareDeviceType_CPU) continue;
      OrtKeyValuePairs* metadata = nullptr;
      api().CreateKeyValuePairs(&metadata);
      const std::unique_ptr<OrtKeyValuePairs, void (*)(OrtKeyValuePairs*)> owner(
          metadata, [](OrtKeyValuePairs* owned) { api().ReleaseKeyValuePairs(owned); });
      api().AddKeyValuePair(metadata, "device", "cpu");
      api().AddKeyValuePair(metadata, "kernels", cpu::active_variant().name);
      check(api().GetEpApi()->CreateEpDevice(self, devices[i], metadata, nullptr, &ep_devices[*found]));
      ++*found;
    }
  });
}

OrtStatus* ORT_API_CALL create_ep(OrtEpFactory*, const OrtHardwareDevice* const*, const OrtKeyValuePairs* const*,
                                  size_t, const OrtSessionOptions* session_options, const OrtLogger*,
                                  OrtEp** ep) noexcept {
  return guarded([&] { *ep = new Provider(read_options(session_options, kProviderName)); });
}

}  // namespace

Factory::Factory() : OrtEpFactory{} {
  ort_version_supported = ORT_API_VERSION;
  GetName = [](const OrtEpFactory*) noexcept { return kProviderName; };
  GetVendor = [](const OrtEpFactory*) noexcept { return kVendor; };
  GetVendorId = [](const OrtEpFactory*) noexcept { return uint32_t{0}; };
  GetVersion = [](const OrtEpFactory*) noexcept { return kVersion; };
  GetSupportedDevices = supported_devices;
  CreateEp = create_ep;
  ReleaseEp = [](OrtEpFactory*, OrtEp* ep) noexcept { delete static_cast<Provider*>(ep); };
  // The CPU needs neither memory nor copies nor streams of its own.
  CreateAllocator = [](OrtEpFactory*, const OrtMemoryInfo*, const OrtKeyValuePairs*,
                       OrtAllocator** allocator) noexcept -> OrtStatus* {
    *allocator = nullptr;
    return nullptr;
  };
  ReleaseAllocator = [](OrtEpFactory*, OrtAllocator*) noexcept {};
  CreateDataTransfer = [](OrtEpFactory*, OrtDataTransferImpl** transfer) noexcept -> OrtStatus* {
    *transfer = nullptr;
    return nullptr;
  };
  IsStreamAware = [](const OrtEpFactory*) noexcept { return false; };
}

}  // namespace ivit::ep

#define IVIT_EXPORT extern "C" __attribute__((visibility("default")))

// The entry points of a provider library: ONNX Runtime calls them for register_execution_provider_library.
IVIT_EXPORT OrtStatus* CreateEpFactories(const char*, const OrtApiBase* base, const OrtLogger*,
                                         OrtEpFactory** factories, size_t most, size_t* count) noexcept {
  using namespace ivit;
  if (OrtStatus* status = ort::set_api_from(base)) return status;
  return ort::guarded([&] {
    *count = 0;
    if (most == 0) throw ort::InvalidArgument("ivit: there is no room for a provider's factory");
    cpu::active_variant();  // a wrong IVIT_CPU is reported here
    factories[(*count)++] = new ep::Factory();
  });
}

IVIT_EXPORT OrtStatus* ReleaseEpFactory(OrtEpFactory* factory) noexcept {
  delete static_cast<ivit::ep::Factory*>(factory);
  return nullptr;
}
