// IntPatchEmbed, IntPixelEmbed: call of the CPU kernel.
#include "kernels/cpu/int_patch_embed.h"

#include "ort/operators/linear.h"
#include "ort/operators/patches.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntPatchEmbedKernel final : public Kernel {
 public:
  explicit IntPatchEmbedKernel(const Call& constants) : images_(constants), projection_(constants, Op::kLinear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PatchEmbed embed{projection_.packed(call, storage), call.dyadic(Op::kTokenScale),
                                call.data<int32_t>(Op::kPosition), call.data<int16_t>(Op::kPrefixTokens),
                                call.input_dim(Op::kPrefixTokens, 0)};
    images_.with_patches(
        call, [&](const auto& patches) { cpu::int_patch_embed(parallel, patches, embed, call.output<int16_t>()); });
  }

 private:
  Images<Op> images_;
  LinearParameters projection_;
};

}  // namespace

IVIT_KERNEL(IntPatchEmbed, IntPatchEmbedKernel)
IVIT_KERNEL(IntPixelEmbed, IntPatchEmbedKernel)

}  // namespace ivit::ort
