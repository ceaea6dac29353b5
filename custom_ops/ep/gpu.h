// The provider's GPU side. A library built for CPUs only has none.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>

#include "ep/options.h"
#include "ep/program.h"

namespace ivit::ep {

class Gpu {
 public:
  virtual ~Gpu() = default;
  // GPUs that can be used; 0 without a driver.
  virtual int count() const = 0;
  // Packs parameters and copies them to the device.
  virtual std::unique_ptr<Program> compile(Plan plan, const Options& options) const = 0;
  // Memory of a device, for ONNX Runtime's tensors. The caller deletes it with release_allocator.
  virtual OrtAllocator* create_allocator(const OrtMemoryInfo* info) const = 0;
  virtual void release_allocator(OrtAllocator* allocator) const = 0;
  virtual OrtDataTransferImpl* create_data_transfer() const = 0;
};

// Null if the library has none.
const Gpu* gpu();

// What ONNX Runtime calls the memory of a GPU.
constexpr uint32_t kNvidia = 0x10de;
constexpr const char* kGpuMemoryName = "IVitCuda";

}  // namespace ivit::ep
