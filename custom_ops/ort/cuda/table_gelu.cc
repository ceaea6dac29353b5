// TableGELU on the GPU.
#include "kernels/cuda/table_gelu.h"

#include "ort/cuda/families.h"

namespace ivit::ort {
namespace {

enum Input { kX, kTable };

class TableGeluCuda final : public CudaKernel {
 public:
  explicit TableGeluCuda(const Call& constants) : table_(constants.data<int8_t>(kTable)) {}
  void compute(const Call& call, const CudaRun& run) const override {
    cuda::table_gelu(call.data<int8_t>(kX), call.dims.rows() * call.dims['C'], table_, call.output<int8_t>(),
                     run.stream);
  }

 private:
  cuda::GeluTable table_;
};

}  // namespace

std::vector<CudaOperator> table_gelu_cuda() { return {{"TableGELU", create_cuda_kernel<TableGeluCuda>}}; }

}  // namespace ivit::ort
