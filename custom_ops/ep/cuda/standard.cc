#include "ep/cuda/standard.h"

#include <cstring>

#include "ep/plan.h"
#include "kernels/cuda/copy.h"

namespace ivit::ep {
namespace {

class SliceCuda final : public ort::CudaKernel {
 public:
  void compute(const ort::Call& call, const ort::CudaRun& run) const override {
    const int64_t bytes = element_bytes(call.spec.outputs[0].type) * call.dims['C'];
    const int64_t from = call.attributes[0];
    cuda::copy_rows(call.data<uint8_t>(0) + from * bytes, call.dims['T'] * bytes, call.dims['N'],
                    call.output_dim(0, 1) * bytes, call.output<uint8_t>(), run.stream);
  }
};

class FlattenCuda final : public ort::CudaKernel {
 public:
  void compute(const ort::Call& call, const ort::CudaRun& run) const override {
    const int64_t bytes = element_bytes(call.spec.outputs[0].type) * call.dims['N'] * call.output_dim(0, 1);
    cuda::copy_on_device(call.output<uint8_t>(), call.data<uint8_t>(0), static_cast<size_t>(bytes), run.stream);
  }
};

template <class T>
class CastCuda final : public ort::CudaKernel {
 public:
  void compute(const ort::Call& call, const ort::CudaRun& run) const override {
    cuda::widen(call.data<T>(0), call.dims.rows() * call.dims['C'], call.output<int32_t>(), run.stream);
  }
};

}  // namespace

std::unique_ptr<ort::CudaKernel> create_standard_cuda(const ort::Call& call) {
  if (std::strcmp(call.spec.name, "Slice") == 0) return std::make_unique<SliceCuda>();
  if (std::strcmp(call.spec.name, "Flatten") == 0) return std::make_unique<FlattenCuda>();
  if (std::strcmp(call.spec.name, "Cast") != 0) return nullptr;
  if (call.spec.inputs[0].type == ort::kInt8) return std::make_unique<CastCuda<int8_t>>();
  if (call.spec.inputs[0].type == ort::kInt16) return std::make_unique<CastCuda<int16_t>>();
  return std::make_unique<CastCuda<int32_t>>();
}

}  // namespace ivit::ep
