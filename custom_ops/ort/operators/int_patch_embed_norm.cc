// IntPatchEmbedNorm16, IntPixelEmbedNorm16: call of the CPU kernel.
#include "kernels/cpu/int_patch_embed_norm.h"

#include "ort/operators/affine.h"
#include "ort/operators/linear.h"
#include "ort/operators/patches.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntPatchEmbedNormKernel final : public Kernel {
 public:
  explicit IntPatchEmbedNormKernel(const Call& constants) : images_(constants), projection_(constants, Op::kLinear) {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    const cpu::PatchEmbedNorm embed{projection_.packed(call, storage), static_cast<int>(call.attributes[Op::kBits]),
                                    bind_affine(call, Op::kNormAffine), call.dyadic(Op::kTokenScale)};
    images_.with_patches(call, [&](const auto& patches) {
      cpu::int_patch_embed_norm(parallel, patches, embed, call.output<int16_t>());
    });
  }

 private:
  Images<Op> images_;
  LinearParameters projection_;
};

}  // namespace

IVIT_KERNEL(IntPatchEmbedNorm16, IntPatchEmbedNormKernel)
IVIT_KERNEL(IntPixelEmbedNorm16, IntPatchEmbedNormKernel)

}  // namespace ivit::ort
