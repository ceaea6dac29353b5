// IntPatchEmbed: contract and call of the CPU kernel.
#include "kernels/cpu/int_patch_embed.h"

#include <string>

#include "ort/operators/families.h"
#include "ort/operators/linear.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

enum Input { kImage, kWeight, kBias, kMultiplier, kShift, kTokenMultiplier, kTokenShift, kPosition, kPrefixTokens };

// C colours of H x W pixels; K pixels of a patch, all colours; D channels; P patches, J prefix tokens, T tokens.
void check_patches(const Dims& dims, int64_t size) {
  const auto fail = [&](const std::string& what, const std::string& expected, const std::string& found) {
    throw InvalidArgument("IntPatchEmbed: " + what + ": expected " + expected + ", found " + found);
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

class IntPatchEmbedKernel final : public Kernel {
 public:
  explicit IntPatchEmbedKernel(const Call& constants) : projection_(constants, kWeight, 'K', 'D') {}
  void compute(const Call& call, const cpu::Parallel& parallel, void* output) const override {
    const int64_t patch_size = call.attributes[0];
    check_patches(call.dims, patch_size);
    cpu::PackedLinear storage;
    const cpu::PatchEmbed embed{{call.dims['N'], call.dims['C'], call.dims['H'], call.dims['W']},
                                patch_size,
                                projection_.packed(call, storage),
                                call.dyadic(kTokenMultiplier),
                                call.data<int32_t>(kPosition),
                                call.data<int16_t>(kPrefixTokens),
                                call.dims['J']};
    cpu::int_patch_embed(parallel, call.data<int8_t>(kImage), embed, static_cast<int16_t*>(output));
  }

 private:
  LinearInputs projection_;
};

void derive_tokens(Dims& dims) {
  if (dims['J'] != Dims::kUnknown && dims['P'] != Dims::kUnknown) dims['T'] = dims['J'] + dims['P'];
}

}  // namespace

std::vector<OperatorSpec> int_patch_embed_operators() {
  return {{"IntPatchEmbed",
           {{"image", kInt8, "NCHW"},
            {"weight", kInt8, "KD"},
            {"bias", kInt32, "D"},
            {"multiplier", kInt32, "?D"},
            {"shift", kInt8, "?D", kShiftRange},
            {"token_multiplier", kInt32, ""},
            {"token_shift", kInt8, "", kShiftRange},
            {"position", kInt32, "PD"},
            {"prefix_tokens", kInt16, "JD"}},
           {"tokens", kInt16, "NTD"},
           {{"patch_size", {1, 1024}}},
           create_kernel<IntPatchEmbedKernel>,
           derive_tokens}};
}

}  // namespace ivit::ort
