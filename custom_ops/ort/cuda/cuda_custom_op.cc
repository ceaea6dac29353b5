#include "ort/cuda/cuda_custom_op.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "ort/binding.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

struct KernelInstance {
  Call constants;
  std::unique_ptr<CudaKernel> kernel;
  OrtAllocator* allocator = nullptr;
  const OrtMemoryInfo* memory = nullptr;

  KernelInstance(Call call, std::unique_ptr<CudaKernel> created)
      : constants(std::move(call)), kernel(std::move(created)) {}
  ~KernelInstance() {
    if (allocator != nullptr) api().ReleaseAllocator(allocator);
  }
  KernelInstance(const KernelInstance&) = delete;
  KernelInstance& operator=(const KernelInstance&) = delete;
};

// Memory of the provider's arena in the order of the call's stream: it may be given back as soon as the work that uses
// it is enqueued.
class Scratch {
 public:
  Scratch(const KernelInstance& instance, const OrtKernelContext* context, size_t bytes)
      : allocator_(instance.allocator) {
    if (bytes > 0) check(api().KernelContext_GetScratchBuffer(context, instance.memory, bytes, &memory_));
  }
  ~Scratch() {
    if (memory_ != nullptr) allocator_->Free(allocator_, memory_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* get() const { return memory_; }

 private:
  OrtAllocator* allocator_;
  void* memory_ = nullptr;
};

OrtStatus* ORT_API_CALL create(const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info,
                               void** kernel) noexcept {
  return guarded([&] {
    Call constants = bind_constants(static_cast<const CustomOp*>(op)->spec, info);
    std::unique_ptr<CudaKernel> created = create_cuda_kernel_for(constants);
    auto instance = std::make_unique<KernelInstance>(std::move(constants), std::move(created));
    check(api().KernelInfoGetAllocator(info, OrtMemTypeDefault, &instance->allocator));
    check(api().AllocatorGetInfo(instance->allocator, &instance->memory));
    *kernel = instance.release();
  });
}

OrtStatus* ORT_API_CALL compute(void* kernel, OrtKernelContext* context) noexcept {
  return guarded([&] {
    const KernelInstance& instance = *static_cast<const KernelInstance*>(kernel);
    Call call = bind_run(instance.constants, context);
    bool empty = false;
    CudaRun run{nullptr, nullptr};
    for (size_t index = 0; index < call.spec.outputs.size(); ++index) {
      const std::vector<int64_t> shape = call.dims.shape(call.spec.outputs[index].shape);
      OrtValue* output = nullptr;
      check(api().KernelContext_GetOutput(context, index, shape.data(), shape.size(), &output));
      check(api().GetTensorMutableData(output, &call.outputs[index]));
      empty = empty || std::find(shape.begin(), shape.end(), 0) != shape.end();
    }
    // Every output is asked for first: the runtime wants one of each.
    if (empty) return;
    check(api().KernelContext_GetGPUComputeStream(context, &run.stream));
    const Scratch scratch(instance, context, instance.kernel->scratch_bytes(call));
    run.scratch = scratch.get();
    instance.kernel->compute(call, run);
  });
}

void ORT_API_CALL destroy(void* kernel) noexcept { delete static_cast<KernelInstance*>(kernel); }

}  // namespace

CustomOp cuda_custom_op(const OperatorSpec& spec) {
  CustomOp op(spec);
  op.GetExecutionProviderType = [](const OrtCustomOp*) { return "CUDAExecutionProvider"; };
  op.GetInputMemoryType = [](const OrtCustomOp* self, size_t index) {
    const bool activation = static_cast<const CustomOp*>(self)->spec.inputs[index].is_activation();
    return activation ? OrtMemTypeDefault : OrtMemTypeCPUInput;
  };
  op.CreateKernelV2 = create;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = destroy;
  return op;
}

}  // namespace ivit::ort
