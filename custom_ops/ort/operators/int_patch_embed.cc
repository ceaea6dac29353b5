// IntPatchEmbed, IntPixelEmbed: contract and call of the CPU kernel.
#include "kernels/cpu/int_patch_embed.h"

#include <string>
#include <utility>

#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/patches.h"
#include "ort/operators/pixels.h"

namespace ivit::ort {
namespace {

// Inputs of a patch embedding, counted from its weight.
enum Constant { kWeight, kTokenMultiplier = 4, kTokenShift, kPosition, kPrefixTokens };

constexpr size_t kImage = 0;
// Index of the weight: IntPixelEmbed has the three inputs of QuantizeImage before it.
constexpr size_t kPatchWeight = 1;
constexpr size_t kPixelWeight = 4;

// D channels; P patches, J prefix tokens, T tokens.
cpu::PatchEmbed bind_embed(const Call& call, const cpu::PackedLinear& projection, size_t weight) {
  return {projection, call.dyadic(weight + kTokenMultiplier), call.data<int32_t>(weight + kPosition),
          call.data<int16_t>(weight + kPrefixTokens), call.dims['J']};
}

class IntPatchEmbedKernel final : public Kernel {
 public:
  explicit IntPatchEmbedKernel(const Call& constants) : projection_(constants, kPatchWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    const cpu::QuantizedPatches patches(call.data<int8_t>(kImage), patch_grid(call));
    cpu::PackedLinear storage;
    cpu::int_patch_embed(parallel, patches, bind_embed(call, projection_.packed(call, storage), kPatchWeight),
                         call.output<int16_t>());
  }

 private:
  LinearInputs projection_;
};

class IntPixelEmbedKernel final : public Kernel {
 public:
  explicit IntPixelEmbedKernel(const Call& constants)
      : pixels_(constants, kImage + 1), projection_(constants, kPixelWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel) const override {
    cpu::PixelTables tables;
    cpu::PackedLinear storage;
    const cpu::PixelPatches patches(call.data<uint8_t>(kImage), patch_grid(call), pixels_.tables(call, tables));
    cpu::int_patch_embed(parallel, patches, bind_embed(call, projection_.packed(call, storage), kPixelWeight),
                         call.output<int16_t>());
  }

 private:
  PixelInputs pixels_;
  LinearInputs projection_;
};

std::vector<TensorSpec> embed_constants() {
  return {{"weight", kInt8, "KD"},          {"bias", kInt32, "D"},
          {"multiplier", kInt32, "?D"},     {"shift", kInt8, "?D", kShiftRange},
          {"token_multiplier", kInt32, ""}, {"token_shift", kInt8, "", kShiftRange},
          {"position", kInt32, "PD"},       {"prefix_tokens", kInt16, "JD"}};
}

void derive_tokens(const OperatorSpec& spec, const std::vector<int64_t>& attributes, Dims& dims) {
  if (dims['J'] == Dims::kUnknown || dims['P'] == Dims::kUnknown) return;
  dims['T'] = checked_sum(dims['J'], dims['P']);
  for (const char letter : {'C', 'H', 'W', 'K'}) {
    if (dims[letter] == Dims::kUnknown) return;
  }
  const cpu::PatchGrid grid = patch_grid(spec, attributes, dims);
  if (dims['P'] != grid.count()) {
    throw InvalidArgument(std::string(spec.name) + ": rows of input position: expected one per patch of " +
                          square(grid.patch_size) + " of the image of " + format_shape(dims.shape("HW")) + ", found " +
                          std::to_string(dims['P']));
  }
}

OperatorSpec embed_operator(const char* name, std::vector<TensorSpec> inputs,
                            std::unique_ptr<Kernel> (*create)(const Call&)) {
  for (const TensorSpec& constant : embed_constants()) inputs.push_back(constant);
  return {name, std::move(inputs), {"tokens", kInt16, "NTD"}, {patch_size_attribute()}, create, derive_tokens};
}

}  // namespace

std::vector<OperatorSpec> int_patch_embed_operators() {
  return {embed_operator("IntPatchEmbed", {activation("image", kInt8, "NCHW")}, create_kernel<IntPatchEmbedKernel>),
          embed_operator("IntPixelEmbed",
                         {activation("image", kUint8, "NCHW"),
                          {"pixel_multiplier", kInt32, "C"},
                          {"pixel_offset", kInt64, "C", kOffsetRange},
                          {"pixel_shift", kInt8, "C", kShiftRange}},
                         create_kernel<IntPixelEmbedKernel>)};
}

}  // namespace ivit::ort
