// IntPatchMerge: contract and call of the CPU kernel.
#include "kernels/cpu/int_patch_merge.h"

#include "ort/operators/bits.h"
#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/norm.h"
#include "ort/operators/token_grid.h"

namespace ivit::ort {
namespace {

enum Input { kX, kNormMultiplier, kNormOffset, kNormShift, kWeight };
enum Attribute { kHeight, kWidth, kBits };

class IntPatchMergeKernel final : public Kernel {
 public:
  explicit IntPatchMergeKernel(const Call& constants) : linear_(constants, kWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const int64_t height = call.attributes[kHeight];
    const int64_t width = call.attributes[kWidth];
    check_merge(call, height, width);
    cpu::PackedLinear storage;
    const cpu::PatchMerge merge{call.dims['N'],
                                height,
                                width,
                                call.dims['C'],
                                bind_affine(call, kNormMultiplier),
                                linear_.packed(call, storage),
                                static_cast<int>(call.attributes[kBits])};
    cpu::int_patch_merge(parallel, call.data<int16_t>(kX), merge, call.output<int16_t>());
  }

 private:
  LinearInputs linear_;
};

// S squares of 2 x 2 tokens.
void derive_squares(const OperatorSpec&, const std::vector<int64_t>& attributes, Dims& dims) {
  dims['S'] = divide_up(attributes[kHeight], 2) * divide_up(attributes[kWidth], 2);
}

}  // namespace

std::vector<OperatorSpec> int_patch_merge_operators() {
  std::vector<TensorSpec> inputs = {activation("x", kInt16, "NLC")};
  append_norm_inputs(inputs, "K");
  inputs.push_back({"weight", kInt8, "KD"});
  inputs.push_back({"bias", kInt32, "D"});
  inputs.push_back({"multiplier", kInt32, "?D"});
  inputs.push_back({"shift", kInt8, "?D", kShiftRange});
  return {{"IntPatchMerge",
           inputs,
           {"y", kInt16, "NSD"},
           {height_attribute(), width_attribute(), bits_attribute()},
           create_kernel<IntPatchMergeKernel>,
           derive_squares}};
}

}  // namespace ivit::ort
