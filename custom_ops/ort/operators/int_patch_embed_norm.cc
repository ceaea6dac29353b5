// IntPatchEmbedNorm16, IntPixelEmbedNorm16: contract and call of the CPU kernel.
#include "kernels/cpu/int_patch_embed_norm.h"

#include <utility>

#include "ort/operators/bits.h"
#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/norm.h"
#include "ort/operators/patches.h"
#include "ort/operators/pixels.h"

namespace ivit::ort {
namespace {

enum Attribute { kPatchSize, kBits };

// Inputs of a patch embedding, counted from its weight.
enum Constant { kWeight, kNormMultiplier = 4, kTokenMultiplier = 7 };

constexpr size_t kImage = 0;
// Index of the weight: IntPixelEmbedNorm16 has the three inputs of QuantizeImage before it.
constexpr size_t kPatchWeight = 1;
constexpr size_t kPixelWeight = 4;

cpu::PatchEmbedNorm bind_embed(const Call& call, const cpu::PackedLinear& projection, size_t weight) {
  return {projection, static_cast<int>(call.attributes[kBits]), bind_affine(call, weight + kNormMultiplier),
          call.dyadic(weight + kTokenMultiplier)};
}

class IntPatchEmbedNormKernel final : public Kernel {
 public:
  explicit IntPatchEmbedNormKernel(const Call& constants) : projection_(constants, kPatchWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PackedLinear storage;
    cpu::int_patch_embed_norm(parallel, cpu::QuantizedPatches(call.data<int8_t>(kImage), patch_grid(call)),
                              bind_embed(call, projection_.packed(call, storage), kPatchWeight),
                              call.output<int16_t>());
  }

 private:
  LinearInputs projection_;
};

class IntPixelEmbedNormKernel final : public Kernel {
 public:
  explicit IntPixelEmbedNormKernel(const Call& constants)
      : pixels_(constants, kImage + 1), projection_(constants, kPixelWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PixelTables tables;
    cpu::PackedLinear storage;
    const cpu::PixelPatches patches(call.data<uint8_t>(kImage), patch_grid(call), pixels_.tables(call, tables));
    cpu::int_patch_embed_norm(parallel, patches, bind_embed(call, projection_.packed(call, storage), kPixelWeight),
                              call.output<int16_t>());
  }

 private:
  PixelInputs pixels_;
  LinearInputs projection_;
};

// K pixels of a patch, all colours; D channels; T tokens.
void derive_tokens(const OperatorSpec&, const std::vector<int64_t>& attributes, Dims& dims) {
  const int64_t size = attributes[kPatchSize];
  if (dims['H'] == Dims::kUnknown || dims['W'] == Dims::kUnknown) return;
  dims['T'] = checked_product(dims['H'] / size, dims['W'] / size);
}

OperatorSpec embed_operator(const char* name, std::vector<TensorSpec> inputs,
                            std::unique_ptr<Kernel> (*create)(const Call&)) {
  inputs.push_back({"weight", kInt8, "KD"});
  inputs.push_back({"bias", kInt32, "D"});
  inputs.push_back({"multiplier", kInt32, "?D"});
  inputs.push_back({"shift", kInt8, "?D", kShiftRange});
  append_norm_inputs(inputs, "D");
  inputs.push_back({"token_multiplier", kInt32, ""});
  inputs.push_back({"token_shift", kInt8, "", kShiftRange});
  return {name,   std::move(inputs), {"tokens", kInt16, "NTD"}, {patch_size_attribute(), bits_attribute()},
          create, derive_tokens};
}

}  // namespace

std::vector<OperatorSpec> int_patch_embed_norm_operators() {
  return {embed_operator("IntPatchEmbedNorm16", {activation("image", kInt8, "NCHW")},
                         create_kernel<IntPatchEmbedNormKernel>),
          embed_operator("IntPixelEmbedNorm16",
                         {activation("image", kUint8, "NCHW"),
                          {"pixel_multiplier", kInt32, "C"},
                          {"pixel_offset", kInt64, "C", kOffsetRange},
                          {"pixel_shift", kInt8, "C", kShiftRange}},
                         create_kernel<IntPixelEmbedNormKernel>)};
}

}  // namespace ivit::ort
