// IntWindowAttention, IntTableWindowAttention: contracts and call of the CPU kernel.
#include "kernels/cpu/int_window_attention.h"

#include "ort/operators/families.h"
#include "ort/operators/packed_qkv.h"
#include "ort/operators/softmax.h"
#include "ort/operators/token_grid.h"
#include "ort/operators/window_check.h"

namespace ivit::ort {
namespace {

enum Input {
  kQkv,
  kPadding,
  kRelativePosition,
  kScoreMultiplier,
  kScoreShift,
  kPlacedMultiplier,
  kPlacedShift,
  kContextMultiplier
};
enum Attribute { kHeads, kHeight, kWidth, kWindow, kShift };

void check(const Call& call) {
  check_grid(call, call.dims['L'], call.attributes[kHeight], call.attributes[kWidth]);
  check_window(call, call.attributes[kHeads], call.attributes[kWindow], call.attributes[kShift]);
}

class IntWindowAttentionKernel final : public Kernel {
 public:
  explicit IntWindowAttentionKernel(const Call& constants) : softmax_(constants) {
    constant_ = true;
    for (const size_t input : {kRelativePosition, kPlacedMultiplier, kPlacedShift}) {
      constant_ = constant_ && constants.is_constant(input);
    }
    // What does not fit is reported when the kernel runs.
    constant_ = constant_ && fits(constants);
    if (constant_) placed_ = place(constants);
  }

  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    check(call);
    cpu::PlacedScores storage;
    if (!constant_) storage = place(call);
    cpu::WindowSoftmax softmax_storage;
    const int64_t heads = call.attributes[kHeads];
    const cpu::WindowAttention attention{call.dims['N'],
                                         grid(call),
                                         heads,
                                         call.dims['C'] / heads,
                                         call.data<int8_t>(kPadding),
                                         call.dyadic(kScoreMultiplier),
                                         constant_ ? placed_ : storage,
                                         call.dyadic(kContextMultiplier),
                                         softmax_.get(call, softmax_storage)};
    cpu::int_window_attention(parallel, call.data<int8_t>(kQkv), attention, call.output<int8_t>());
  }

 private:
  static WindowGrid grid(const Call& call) {
    return {call.attributes[kHeight], call.attributes[kWidth], call.attributes[kWindow], call.attributes[kShift]};
  }

  static bool fits(const Call& call) {
    const int64_t window = call.attributes[kWindow];
    const int64_t side = 2 * window - 1;
    const bool pairs = call.attributes[kHeads] * window * window * window * window <= kMostPairs;
    return pairs && call.dims['H'] == call.attributes[kHeads] && call.dims['R'] == side * side;
  }

  static cpu::PlacedScores place(const Call& call) {
    return {grid(call), call.attributes[kHeads], call.data<int16_t>(kRelativePosition), call.dyadic(kPlacedMultiplier)};
  }

  SoftmaxInput<cpu::WindowSoftmax> softmax_;
  bool constant_;
  cpu::PlacedScores placed_;
};

std::vector<TensorSpec> window_attention_inputs() {
  return {activation("qkv", kInt8, "NLW"),
          {"padding", kInt8, "W"},
          {"relative_position", kInt16, "RH"},
          {"score_multiplier", kInt32, ""},
          {"score_shift", kInt8, "", kShiftRange},
          {"placed_multiplier", kInt32, ""},
          {"placed_shift", kInt8, "", kShiftRange},
          {"context_multiplier", kInt32, "?C"},
          {"context_shift", kInt8, "?C", kShiftRange}};
}

OperatorSpec window_attention(const char* name, const std::vector<TensorSpec>& inputs,
                              const std::vector<AttributeSpec>& attributes) {
  return {name, inputs, {"y", kInt8, "NLC"}, attributes, create_kernel<IntWindowAttentionKernel>, derive_channels};
}

}  // namespace

std::vector<OperatorSpec> int_window_attention_operators() {
  const std::vector<AttributeSpec> windows = {
      {"heads", {1, 1024}}, height_attribute(), width_attribute(), {"window", {1, 256}}, {"shift", {0, 255}}};
  std::vector<TensorSpec> with_table = window_attention_inputs();
  with_table.push_back(exponentials_input());
  return {window_attention("IntWindowAttention", window_attention_inputs(), shift_softmax_attributes(windows)),
          window_attention("IntTableWindowAttention", with_table, table_softmax_attributes(windows))};
}

}  // namespace ivit::ort
