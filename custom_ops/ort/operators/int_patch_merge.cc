// IntPatchMerge: call of the CPU kernel.
#include "kernels/cpu/int_patch_merge.h"

#include "ort/operators/affine.h"
#include "ort/operators/linear.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntPatchMergeKernel final : public Kernel {
 public:
  explicit IntPatchMergeKernel(const Call& constants) : linear_(constants, Op::kLinear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PatchMerge merge{call.dims['N'],
                                call.attributes[Op::kHeight],
                                call.attributes[Op::kWidth],
                                call.dims['C'],
                                bind_affine(call, Op::kNormAffine),
                                linear_.packed(call, storage),
                                static_cast<int>(call.attributes[Op::kBits])};
    cpu::int_patch_merge(parallel, call.data<int16_t>(Op::kX), merge, call.output<int16_t>());
  }

 private:
  LinearParameters linear_;
};

}  // namespace

IVIT_KERNEL(IntPatchMerge, IntPatchMergeKernel)

}  // namespace ivit::ort
