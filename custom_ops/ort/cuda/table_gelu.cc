// TableGELU on the GPU.
#include "kernels/cuda/table_gelu.h"

#include "ort/cuda/cuda_kernel.h"

namespace ivit::ort {
namespace {

template <class Op>
class TableGeluCuda final : public CudaKernel {
 public:
  explicit TableGeluCuda(const Call& constants) : table_(constants.data<int8_t>(Op::kTable)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::table_gelu(call.data<int8_t>(Op::kX), call.dims.rows() * call.dims['C'], table_, call.output<int8_t>(),
                     run.stream);
  }

 private:
  cuda::GeluTable table_;
};

}  // namespace

IVIT_CUDA_KERNEL(TableGELU, TableGeluCuda)

}  // namespace ivit::ort
