// IntAttention: contract and call of the CPU kernel.
#include "kernels/cpu/int_attention.h"

#include "ort/operators/exponential.h"
#include "ort/operators/families.h"
#include "ort/operators/packed_qkv.h"

namespace ivit::ort {
namespace {

enum Input { kQkv, kScoreMultiplier, kScoreShift, kContextMultiplier, kContextShift };
enum Attribute { kHeads, kX0, kN, kFracBits };

class IntAttentionKernel final : public Kernel {
 public:
  explicit IntAttentionKernel(const Call& constants)
      : exponential_(constants.attributes[kX0], constants.attributes[kN]) {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    const int64_t heads = call.attributes[kHeads];
    const int64_t channels = call.dims['C'];
    check_heads(call, heads);
    const cpu::Attention attention{call.dims['N'],
                                   call.dims['T'],
                                   heads,
                                   channels / heads,
                                   call.dyadic(kScoreMultiplier),
                                   call.dyadic(kContextMultiplier),
                                   exponential_,
                                   static_cast<int>(call.attributes[kFracBits])};
    cpu::int_attention(parallel, call.data<int8_t>(kQkv), attention, static_cast<int8_t*>(output));
  }

 private:
  ShiftExpTable exponential_;
};

}  // namespace

std::vector<OperatorSpec> int_attention_operators() {
  return {{"IntAttention",
           {activation("qkv", kInt8, "NTW"),
            {"score_multiplier", kInt32, ""},
            {"score_shift", kInt8, "", kShiftRange},
            {"context_multiplier", kInt32, "?C"},
            {"context_shift", kInt8, "?C", kShiftRange}},
           {"y", kInt8, "NTC"},
           {{"heads", {1, 1024}}, x0_attribute(), n_attribute(), frac_bits_attribute()},
           create_kernel<IntAttentionKernel>,
           derive_channels}};
}

}  // namespace ivit::ort
