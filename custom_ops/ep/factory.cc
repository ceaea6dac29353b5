#include "ep/factory.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ep/gpu.h"
#include "ep/provider.h"
#include "kernels/cpu/variant.h"
#include "ort/domain.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::guarded;

constexpr const char* kVendor = "ivit-onnx";
constexpr const char* kVersion = IVIT_VERSION;
// What cudaMalloc gives.
constexpr size_t kGpuAlignment = 256;

using KeyValues = std::unique_ptr<OrtKeyValuePairs, void (*)(OrtKeyValuePairs*)>;

KeyValues key_values(std::initializer_list<std::pair<const char*, std::string>> pairs) {
  OrtKeyValuePairs* made = nullptr;
  api().CreateKeyValuePairs(&made);
  KeyValues owner(made, [](OrtKeyValuePairs* owned) { api().ReleaseKeyValuePairs(owned); });
  for (const auto& [key, value] : pairs) api().AddKeyValuePair(made, key, value.c_str());
  return owner;
}

int gpu_count() { return gpu() == nullptr ? 0 : gpu()->count(); }

}  // namespace

Factory::Factory() : FactoryMembers{} {
  ort_version_supported = kFactoryVersion;
  GetName = [](const OrtEpFactory*) noexcept { return kProviderName; };
  GetVendor = [](const OrtEpFactory*) noexcept { return kVendor; };
  GetVendorId = [](const OrtEpFactory*) noexcept { return uint32_t{0}; };
  GetVersion = [](const OrtEpFactory*) noexcept { return kVersion; };
  GetSupportedDevices = supported_devices;
  CreateEp = create_ep;
  ReleaseEp = [](OrtEpFactory*, OrtEp* ep) noexcept { delete static_cast<Provider*>(ep); };
  CreateAllocator = create_allocator;
  ReleaseAllocator = [](OrtEpFactory*, OrtAllocator* allocator) noexcept { gpu()->release_allocator(allocator); };
  CreateDataTransfer = [](OrtEpFactory*, OrtDataTransferImpl** transfer) noexcept {
    return guarded([&] { *transfer = gpu_count() == 0 ? nullptr : gpu()->create_data_transfer(); });
  };
  IsStreamAware = [](const OrtEpFactory*) noexcept { return false; };
  // Whatever the provider leaves runs on the library's operators, also where a file has no function bodies.
  GetNumCustomOpDomains = [](OrtEpFactory*, size_t* count) noexcept -> OrtStatus* {
    *count = 1;
    return nullptr;
  };
  GetCustomOpDomains = [](OrtEpFactory*, OrtCustomOpDomain** domains, size_t count) noexcept {
    return guarded([&] {
      if (count > 0) domains[0] = ort::domain();
    });
  };
}

OrtStatus* ORT_API_CALL Factory::create_ep(OrtEpFactory* self, const OrtHardwareDevice* const*,
                                           const OrtKeyValuePairs* const* metadata, size_t count,
                                           const OrtSessionOptions* session_options, const OrtLogger*,
                                           OrtEp** ep) noexcept {
  return guarded([&] {
    // Then the devices are gone too.
    if (static_cast<const Factory*>(self)->closed_) {
      throw ort::InvalidArgument(
          "ivit: the library was unregistered after these session options were made; expected it to be registered, and "
          "new session options with its devices");
    }
    if (count != 1) {
      throw ort::InvalidArgument("ivit: expected one device for a session, found " + std::to_string(count));
    }
    Options options = read_options(session_options, kProviderName);
    const bool on_gpu = std::string(api().GetKeyValue(metadata[0], "device")) == "cuda";
    if (on_gpu) options.device_id = std::atoi(api().GetKeyValue(metadata[0], "device_id"));
    *ep = new Provider(options, on_gpu);
  });
}

OrtStatus* ORT_API_CALL Factory::supported_devices(OrtEpFactory* self, const OrtHardwareDevice* const* devices,
                                                   size_t count, OrtEpDevice** ep_devices, size_t most,
                                                   size_t* found) noexcept {
  return guarded([&] {
    *found = 0;
    const OrtHardwareDevice* const* const host = std::find_if(devices, devices + count, [](const auto* device) {
      return api().HardwareDevice_Type(device) == OrtHardwareDeviceType_CPU;
    });
    if (host == devices + count || most == 0) return;
    const OrtEpApi& ep = *api().GetEpApi();
    const KeyValues cpu = key_values({{"device", "cpu"}, {"kernels", ivit::cpu::active_variant().name}});
    check(ep.CreateEpDevice(self, *host, cpu.get(), nullptr, &ep_devices[(*found)++]));
    // ONNX Runtime does not list GPUs everywhere, so they stand beside the CPU, with memory of their own.
    auto& memory = static_cast<Factory*>(self)->memory_;
    const int gpus = gpu_count();
    for (int id = 0; id < gpus && *found < most; ++id) {
      const KeyValues metadata = key_values({{"device", "cuda"}, {"device_id", std::to_string(id)}});
      OrtEpDevice*& device = ep_devices[*found];
      check(ep.CreateEpDevice(self, *host, metadata.get(), nullptr, &device));
      ++*found;
      if (static_cast<size_t>(id) == memory.size()) {
        OrtMemoryInfo* info = nullptr;
        check(api().CreateMemoryInfo_V2(kGpuMemoryName, OrtMemoryInfoDeviceType_GPU, kNvidia, id,
                                        OrtDeviceMemoryType_DEFAULT, kGpuAlignment, OrtDeviceAllocator, &info));
        memory.emplace_back(info, [](OrtMemoryInfo* owned) { api().ReleaseMemoryInfo(owned); });
      }
      check(ep.EpDevice_AddAllocatorInfo(device, memory[static_cast<size_t>(id)].get()));
    }
  });
}

OrtStatus* ORT_API_CALL Factory::create_allocator(OrtEpFactory* self, const OrtMemoryInfo* info,
                                                  const OrtKeyValuePairs*, OrtAllocator** allocator) noexcept {
  return guarded([&] {
    *allocator = nullptr;
    if (info == nullptr || gpu() == nullptr) return;
    int id = 0;
    check(api().MemoryInfoGetId(info, &id));
    const auto& memory = static_cast<Factory*>(self)->memory_;
    *allocator = gpu()->create_allocator(memory.at(static_cast<size_t>(id)).get());
  });
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
    // For the process's whole life, and with a way to it that tools which look for lost memory see.
    static std::vector<ep::Factory*>& kept = *new std::vector<ep::Factory*>;
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    factories[(*count)++] = kept.emplace_back(new ep::Factory());
  });
}

IVIT_EXPORT OrtStatus* ReleaseEpFactory(OrtEpFactory* factory) noexcept {
  static_cast<ivit::ep::Factory*>(factory)->close();
  return nullptr;
}
