// IntAttention, IntTableAttention on the GPU.
#include "kernels/cuda/int_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/families.h"
#include "ort/operators/packed_qkv.h"

namespace ivit::ort {
namespace {

enum Input { kQkv, kScoreMultiplier, kScoreShift, kContextMultiplier, kContextShift };
enum Attribute { kHeads };

class IntAttentionCuda final : public CudaKernel {
 public:
  explicit IntAttentionCuda(const Call& constants)
      : constants_(constants, {kScoreMultiplier, kContextMultiplier, kHeads}) {}
  void compute(const Call& call, const CudaRun& run) const override {
    check_heads(call, call.attributes[kHeads]);
    cuda::int_attention(call.data<int8_t>(kQkv), call.dims['N'], call.dims['T'], constants_.get(call.dims['C']),
                        call.output<int8_t>(), run.stream);
  }

 private:
  AttentionConstants constants_;
};

}  // namespace

std::vector<CudaOperator> int_attention_cuda() {
  return {{"IntAttention", create_cuda_kernel<IntAttentionCuda>},
          {"IntTableAttention", create_cuda_kernel<IntAttentionCuda>}};
}

}  // namespace ivit::ort
