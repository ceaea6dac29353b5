// IntPatchEmbed, IntPixelEmbed: contract and call of the CPU kernel.
#include "kernels/cpu/int_patch_embed.h"

#include <string>
#include <utility>

#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/operators/pixels.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

// Inputs of a patch embedding, counted from its weight.
enum Constant { kWeight, kTokenMultiplier = 4, kTokenShift, kPosition, kPrefixTokens };

constexpr size_t kImage = 0;
// Index of the weight: IntPixelEmbed has the three inputs of QuantizeImage before it.
constexpr size_t kPatchWeight = 1;
constexpr size_t kPixelWeight = 4;

// C colours of H x W pixels; K pixels of a patch, all colours; D channels; P patches, J prefix tokens, T tokens.
void check_patches(const char* name, const Dims& dims, int64_t size) {
  const auto fail = [&](const std::string& what, const std::string& expected, const std::string& found) {
    throw InvalidArgument(std::string(name) + ": " + what + ": expected " + expected + ", found " + found);
  };
  const std::string patch = std::to_string(size) + " x " + std::to_string(size);
  if (dims['H'] % size != 0 || dims['W'] % size != 0) {
    fail("attribute patch_size", "a divisor of the image of " + format_shape(dims.shape("HW")), std::to_string(size));
  }
  if (dims['K'] % (size * size) != 0 || dims['K'] / (size * size) != dims['C']) {
    fail("rows of input weight", std::to_string(dims['C']) + " colours of " + patch + " pixels",
         std::to_string(dims['K']));
  }
  const int64_t columns = dims['W'] / size;
  if (columns == 0 ? dims['P'] != 0 : dims['P'] % columns != 0 || dims['P'] / columns != dims['H'] / size) {
    fail("rows of input position", "one per patch of " + patch + " of the image of " + format_shape(dims.shape("HW")),
         std::to_string(dims['P']));
  }
}

cpu::PatchEmbed bind_embed(const Call& call, const cpu::PackedLinear& projection, size_t weight) {
  const int64_t patch_size = call.attributes[0];
  check_patches(call.spec.name, call.dims, patch_size);
  return {{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']},
          patch_size,
          projection,
          call.dyadic(weight + kTokenMultiplier),
          call.data<int32_t>(weight + kPosition),
          call.data<int16_t>(weight + kPrefixTokens),
          call.dims['J']};
}

class IntPatchEmbedKernel final : public Kernel {
 public:
  explicit IntPatchEmbedKernel(const Call& constants) : projection_(constants, kPatchWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PackedLinear storage;
    cpu::int_patch_embed(parallel, call.data<int8_t>(kImage),
                         bind_embed(call, projection_.packed(call, storage), kPatchWeight),
                         static_cast<int16_t*>(output));
  }

 private:
  LinearInputs projection_;
};

class IntPixelEmbedKernel final : public Kernel {
 public:
  explicit IntPixelEmbedKernel(const Call& constants)
      : pixels_(constants, kImage + 1), projection_(constants, kPixelWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    cpu::PixelTables tables;
    cpu::PackedLinear storage;
    cpu::int_pixel_embed(parallel, call.data<uint8_t>(kImage), pixels_.tables(call, tables),
                         bind_embed(call, projection_.packed(call, storage), kPixelWeight),
                         static_cast<int16_t*>(output));
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

OperatorSpec embed_operator(const char* name, std::vector<TensorSpec> inputs,
                            std::unique_ptr<Kernel> (*create)(const Call&), void (*derive)(Dims&)) {
  for (const TensorSpec& constant : embed_constants()) inputs.push_back(constant);
  return {name, std::move(inputs), {"tokens", kInt16, "NTD"}, {{"patch_size", {1, 1024}}}, create, derive};
}

void derive_tokens(Dims& dims) {
  if (dims['J'] != Dims::kUnknown && dims['P'] != Dims::kUnknown) dims['T'] = dims['J'] + dims['P'];
}

}  // namespace

std::vector<OperatorSpec> int_patch_embed_operators() {
  return {
      embed_operator("IntPatchEmbed", {{"image", kInt8, "NCHW"}}, create_kernel<IntPatchEmbedKernel>, derive_tokens),
      embed_operator("IntPixelEmbed",
                     {{"image", kUint8, "NCHW"},
                      {"pixel_multiplier", kInt32, "C"},
                      {"pixel_offset", kInt64, "C", kOffsetRange},
                      {"pixel_shift", kInt8, "C", kShiftRange}},
                     create_kernel<IntPixelEmbedKernel>, derive_tokens)};
}

}  // namespace ivit::ort
