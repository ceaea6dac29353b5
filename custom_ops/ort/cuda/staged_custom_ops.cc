// For tests: the operators as custom ops of the CPU provider that run the GPU's kernels. Every run copies its inputs to
// the device and its outputs back, so the kernels can be tested with any ONNX Runtime, on a GPU or on the emulator.
#include <memory>
#include <utility>
#include <vector>

#include "ort/binding.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/custom_op.h"
#include "ort/shape.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

using Bytes = cuda::DeviceArray<unsigned char>;

size_t byte_count(ONNXTensorElementDataType type, const std::vector<int64_t>& shape) {
  auto count = static_cast<size_t>(element_bytes(type));
  for (const int64_t dim : shape) count *= static_cast<size_t>(dim);
  return count;
}

struct StagedKernel {
  Call constants;
  // Null if some parameters are not constant; then every run makes its own.
  std::unique_ptr<CudaKernel> kernel;
};

bool all_constant(const Call& constants) {
  for (size_t index = 0; index < constants.spec.inputs.size(); ++index) {
    if (!constants.spec.inputs[index].is_activation() && !constants.is_constant(index)) return false;
  }
  return true;
}

OrtStatus* ORT_API_CALL create(const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info,
                               void** kernel) noexcept {
  return guarded([&] {
    Call constants = bind_constants(static_cast<const CustomOp*>(op)->spec, info);
    std::unique_ptr<CudaKernel> created;
    if (all_constant(constants)) created = create_cuda_kernel_for(constants);
    *kernel = new StagedKernel{std::move(constants), std::move(created)};
  });
}

OrtStatus* ORT_API_CALL compute(void* instance, OrtKernelContext* context) noexcept {
  return guarded([&] {
    const StagedKernel& staged = *static_cast<const StagedKernel*>(instance);
    Call call = bind_run(staged.constants, context);
    const OperatorSpec& spec = call.spec;
    std::unique_ptr<CudaKernel> made;
    if (staged.kernel == nullptr) {
      Call constants = call;
      for (size_t index = 0; index < spec.inputs.size(); ++index) {
        constants.inputs[index].constant = !spec.inputs[index].is_activation();
      }
      made = create_cuda_kernel_for(constants);
    }
    const CudaKernel& kernel = made == nullptr ? *staged.kernel : *made;

    struct Output {
      void* host;
      Bytes device;
    };
    std::vector<Output> outputs;
    bool empty = false;
    CudaRun run{nullptr, nullptr};
    for (size_t index = 0; index < spec.outputs.size(); ++index) {
      const std::vector<int64_t> shape = call.dims.shape(spec.outputs[index].shape);
      OrtValue* value = nullptr;
      check(api().KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value));
      const size_t bytes = byte_count(spec.outputs[index].type, shape);
      empty = empty || bytes == 0;
      void* host = nullptr;
      check(api().GetTensorMutableData(value, &host));
      outputs.push_back({host, Bytes(bytes)});
      call.outputs[index] = outputs.back().device.get();
    }
    if (empty) return;
    std::vector<Bytes> inputs;
    for (size_t index = 0; index < spec.inputs.size(); ++index) {
      if (!spec.inputs[index].is_activation()) continue;
      const size_t bytes = byte_count(spec.inputs[index].type, call.dims.shape(spec.inputs[index].shape));
      Bytes& input = inputs.emplace_back(bytes);
      cuda::copy_to_device(input.get(), call.inputs[index].data, bytes);
      call.inputs[index].data = input.get();
    }
    Bytes scratch(kernel.scratch_bytes(call));
    run.scratch = scratch.get();
    kernel.compute(call, run);
    cuda::synchronize(run.stream);
    for (Output& output : outputs) cuda::copy_to_host(output.host, output.device.get(), output.device.size());
  });
}

void ORT_API_CALL destroy(void* instance) noexcept { delete static_cast<StagedKernel*>(instance); }

}  // namespace

std::vector<CustomOp> custom_ops() {
  std::vector<CustomOp> all;
  for (const OperatorSpec& spec : operators()) {
    CustomOp& op = all.emplace_back(spec);
    op.CreateKernelV2 = create;
    op.KernelComputeV2 = compute;
    op.KernelDestroy = destroy;
  }
  return all;
}

}  // namespace ivit::ort
