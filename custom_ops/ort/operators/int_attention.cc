// IntAttention, IntTableAttention: contracts and call of the CPU kernel.
#include "kernels/cpu/int_attention.h"

#include "ort/operators/families.h"
#include "ort/operators/packed_qkv.h"
#include "ort/operators/softmax.h"

namespace ivit::ort {
namespace {

enum Input { kQkv, kScoreMultiplier, kScoreShift, kContextMultiplier, kContextShift };
enum Attribute { kHeads };

class IntAttentionKernel final : public Kernel {
 public:
  explicit IntAttentionKernel(const Call& constants) : softmax_(constants) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const int64_t heads = call.attributes[kHeads];
    const int64_t channels = call.dims['C'];
    check_heads(call, heads);
    Softmax storage;
    const cpu::Attention attention{call.dims['N'],
                                   call.dims['T'],
                                   heads,
                                   channels / heads,
                                   call.dyadic(kScoreMultiplier),
                                   call.dyadic(kContextMultiplier),
                                   softmax_.get(call, storage)};
    cpu::int_attention(parallel, call.data<int8_t>(kQkv), attention, call.output<int8_t>());
  }

 private:
  SoftmaxInput<Softmax> softmax_;
};

std::vector<TensorSpec> attention_inputs() {
  return {activation("qkv", kInt8, "NTW"),
          {"score_multiplier", kInt32, ""},
          {"score_shift", kInt8, "", kShiftRange},
          {"context_multiplier", kInt32, "?C"},
          {"context_shift", kInt8, "?C", kShiftRange}};
}

OperatorSpec attention(const char* name, const std::vector<TensorSpec>& inputs,
                       const std::vector<AttributeSpec>& attributes) {
  return {name, inputs, {"y", kInt8, "NTC"}, attributes, create_kernel<IntAttentionKernel>, derive_channels};
}

}  // namespace

std::vector<OperatorSpec> int_attention_operators() {
  const AttributeSpec heads{"heads", {1, 1024}};
  std::vector<TensorSpec> with_table = attention_inputs();
  with_table.push_back(exponentials_input());
  return {attention("IntAttention", attention_inputs(), shift_softmax_attributes({heads})),
          attention("IntTableAttention", with_table, table_softmax_attributes({heads}))};
}

}  // namespace ivit::ort
