// The provider's GPU side, with CUDA.
#include "ep/gpu.h"

#include "ep/cuda/cuda_program.h"
#include "ep/cuda/memory.h"

namespace ivit::ep {
namespace {

class CudaGpu final : public Gpu {
 public:
  int count() const override { return cuda::device_count(); }
  std::unique_ptr<Program> compile(Plan plan, const Options& options) const override {
    return std::make_unique<CudaProgram>(std::move(plan), options);
  }
  OrtAllocator* create_allocator(const OrtMemoryInfo* info) const override { return new DeviceAllocator(info); }
  void release_allocator(OrtAllocator* allocator) const override { delete static_cast<DeviceAllocator*>(allocator); }
  OrtDataTransferImpl* create_data_transfer() const override { return new DataTransfer(); }
};

}  // namespace

const Gpu* gpu() {
  static const CudaGpu instance;
  return &instance;
}

}  // namespace ivit::ep
