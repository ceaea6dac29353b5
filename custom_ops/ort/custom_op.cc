// An operator of the table as ONNX Runtime's C interface wants it.
#include "ort/custom_op.h"

#include <algorithm>
#include <memory>

#include "ort/binding.h"
#include "ort/domain.h"
#include "ort/shape_inference.h"
#include "ort/status.h"
#include "ort/thread_pool.h"

namespace ivit::ort {
namespace {

// The version of the domain that defined the operators.
constexpr int kSinceVersion = 1;

struct KernelInstance {
  Call constants;
  std::unique_ptr<Kernel> kernel;
};

const OperatorSpec& spec_of(const OrtCustomOp* op) { return static_cast<const CustomOp*>(op)->spec; }

OrtStatus* ORT_API_CALL create_kernel_instance(const OrtCustomOp* op, const OrtApi*, const OrtKernelInfo* info,
                                               void** kernel) noexcept {
  return guarded([&] {
    Call constants = bind_constants(spec_of(op), info);
    std::unique_ptr<Kernel> created = spec_of(op).create(constants);
    *kernel = new KernelInstance{std::move(constants), std::move(created)};
  });
}

OrtStatus* ORT_API_CALL compute(void* kernel, OrtKernelContext* context) noexcept {
  return guarded([&] {
    const KernelInstance& instance = *static_cast<const KernelInstance*>(kernel);
    Call call = bind_run(instance.constants, context);
    for (size_t index = 0; index < call.spec.outputs.size(); ++index) {
      const std::vector<int64_t> shape = call.dims.shape(call.spec.outputs[index].shape);
      OrtValue* output = nullptr;
      check(api().KernelContext_GetOutput(context, index, shape.data(), shape.size(), &output));
      if (std::find(shape.begin(), shape.end(), 0) != shape.end()) continue;
      check(api().GetTensorMutableData(output, &call.outputs[index]));
    }
    if (call.outputs[0] != nullptr) instance.kernel->compute(call, SessionThreadPool(context));
  });
}

void ORT_API_CALL destroy_kernel_instance(void* kernel) noexcept { delete static_cast<KernelInstance*>(kernel); }

OrtStatus* ORT_API_CALL infer_output_shape(const OrtCustomOp* op, OrtShapeInferContext* context) noexcept {
  return guarded([&] { infer_shape(spec_of(op), context); });
}

}  // namespace

CustomOp::CustomOp(const OperatorSpec& operator_spec) : OrtCustomOp{}, spec(operator_spec) {
  version = ORT_API_VERSION;
  GetName = [](const OrtCustomOp* op) { return spec_of(op).name; };
  // No provider type means the CPU provider.
  GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
  GetInputTypeCount = [](const OrtCustomOp* op) { return spec_of(op).inputs.size(); };
  GetInputType = [](const OrtCustomOp* op, size_t index) { return spec_of(op).inputs[index].type; };
  GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  GetOutputTypeCount = [](const OrtCustomOp* op) { return spec_of(op).outputs.size(); };
  GetOutputType = [](const OrtCustomOp* op, size_t index) { return spec_of(op).outputs[index].type; };
  GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  GetStartVersion = [](const OrtCustomOp*) { return kSinceVersion; };
  // ONNX Runtime compares neither with the version that a file imports, and shows an operator nothing else of it: what
  // keeps later files right is that a name of the domain never changes its meaning (docs/native.md).
  GetEndVersion = [](const OrtCustomOp*) { return static_cast<int>(kDomainVersion); };
  CreateKernelV2 = create_kernel_instance;
  KernelComputeV2 = compute;
  KernelDestroy = destroy_kernel_instance;
  InferOutputShapeFn = infer_output_shape;
}

}  // namespace ivit::ort
