#include "ep/cuda/memory.h"

#include "ep/gpu.h"
#include "kernels/cuda/runtime.h"
#include "ort/binding.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::guarded;

constexpr size_t kLeastBytes = 512;

size_t rounded(size_t bytes) {
  size_t size = kLeastBytes;
  while (size < bytes) size *= 2;
  return size;
}

bool on_gpu(const OrtMemoryDevice* device) {
  const OrtEpApi& ep = *api().GetEpApi();
  return ep.MemoryDevice_GetDeviceType(device) == OrtMemoryInfoDeviceType_GPU &&
         ep.MemoryDevice_GetVendorId(device) == kNvidia &&
         ep.MemoryDevice_GetMemoryType(device) == OrtDeviceMemoryType_DEFAULT;
}

bool on_host(const OrtMemoryDevice* device) {
  return api().GetEpApi()->MemoryDevice_GetDeviceType(device) == OrtMemoryInfoDeviceType_CPU;
}

bool ORT_API_CALL can_copy(const OrtDataTransferImpl*, const OrtMemoryDevice* source,
                           const OrtMemoryDevice* target) noexcept {
  return (on_gpu(source) && (on_gpu(target) || on_host(target))) || (on_host(source) && on_gpu(target));
}

void copy(const OrtValue* source, OrtValue* target) {
  const OrtEpApi& ep = *api().GetEpApi();
  size_t bytes = 0;
  check(api().GetTensorSizeInBytes(source, &bytes));
  if (bytes == 0) return;
  void* to = nullptr;
  check(api().GetTensorMutableData(target, &to));
  const void* from = ort::data_of(source);
  const bool from_gpu = on_gpu(ep.Value_GetMemoryDevice(source));
  const bool to_gpu = on_gpu(ep.Value_GetMemoryDevice(target));
  if (from_gpu && to_gpu) {
    cuda::copy_on_device(to, from, bytes, nullptr);
    cuda::synchronize(nullptr);
  } else if (to_gpu) {
    cuda::copy_to_device(to, from, bytes);
  } else {
    cuda::copy_to_host(to, from, bytes);
  }
}

OrtStatus* ORT_API_CALL copy_tensors(OrtDataTransferImpl*, const OrtValue** sources, OrtValue** targets,
                                     OrtSyncStream**, size_t count) noexcept {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) copy(sources[i], targets[i]);
  });
}

}  // namespace

DeviceAllocator::DeviceAllocator(const OrtMemoryInfo* info) : OrtAllocator{}, info_(info), device_(0) {
  check(api().MemoryInfoGetId(info, &device_));
  version = ORT_API_VERSION;
  Alloc = alloc;
  Reserve = alloc;
  Free = free_memory;
  Info = [](const OrtAllocator* self) noexcept { return static_cast<const DeviceAllocator*>(self)->info_; };
}

DeviceAllocator::~DeviceAllocator() {
  for (const auto& [size, memory] : free_) cuda::release(memory);
}

void* ORT_API_CALL DeviceAllocator::alloc(OrtAllocator* self, size_t size) noexcept {
  DeviceAllocator& allocator = *static_cast<DeviceAllocator*>(self);
  if (size == 0) return nullptr;
  try {
    const std::lock_guard<std::mutex> lock(allocator.mutex_);
    const auto found = allocator.free_.find(rounded(size));
    if (found != allocator.free_.end()) {
      void* memory = found->second;
      allocator.free_.erase(found);
      return memory;
    }
    const cuda::CurrentDevice device(allocator.device_);
    void* memory = cuda::allocate(rounded(size));
    allocator.sizes_[memory] = rounded(size);
    return memory;
  } catch (const std::exception&) {
    return nullptr;  // out of memory, to ONNX Runtime
  }
}

void ORT_API_CALL DeviceAllocator::free_memory(OrtAllocator* self, void* memory) noexcept {
  if (memory == nullptr) return;
  DeviceAllocator& allocator = *static_cast<DeviceAllocator*>(self);
  const std::lock_guard<std::mutex> lock(allocator.mutex_);
  allocator.free_.emplace(allocator.sizes_.at(memory), memory);
}

DataTransfer::DataTransfer() : OrtDataTransferImpl{} {
  ort_version_supported = ORT_API_VERSION;
  Release = [](OrtDataTransferImpl* self) noexcept { delete static_cast<DataTransfer*>(self); };
  CanCopy = can_copy;
  CopyTensors = copy_tensors;
}

}  // namespace ivit::ep
