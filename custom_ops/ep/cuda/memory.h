// Device memory for ONNX Runtime's tensors, and copies between it and the host.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace ivit::ep {

// Keeps what is freed for the next request of that size: ONNX Runtime puts no arena of its own before it. The sizes are
// rounded up to powers of two, so that there are few of them.
class DeviceAllocator final : public OrtAllocator {
 public:
  explicit DeviceAllocator(const OrtMemoryInfo* info);
  ~DeviceAllocator();
  DeviceAllocator(const DeviceAllocator&) = delete;
  DeviceAllocator& operator=(const DeviceAllocator&) = delete;

 private:
  static void* ORT_API_CALL alloc(OrtAllocator* self, size_t size) noexcept;
  static void ORT_API_CALL free_memory(OrtAllocator* self, void* memory) noexcept;

  const OrtMemoryInfo* info_;
  int device_;
  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::unordered_map<void*, size_t> sizes_;
};

class DataTransfer final : public OrtDataTransferImpl {
 public:
  DataTransfer();
};

}  // namespace ivit::ep
