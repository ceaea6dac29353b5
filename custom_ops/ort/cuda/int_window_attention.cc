// IntWindowAttention, IntTableWindowAttention on the GPU.
#include "kernels/cuda/int_window_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/families.h"
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

class IntWindowAttentionCuda final : public CudaKernel {
 public:
  explicit IntWindowAttentionCuda(const Call& constants)
      : constants_(constants, {kScoreMultiplier, kContextMultiplier, kHeads}),
        grid_(checked_grid(constants)),
        padding_(parameter<int8_t>(constants, kPadding, constants.dims['W'])),
        bias_(cuda::window_bias(grid_, constants.attributes[kHeads], constants.data<int16_t>(kRelativePosition))),
        placed_multiplier_(*constants.data<int32_t>(kPlacedMultiplier)),
        placed_shift_(*constants.data<int8_t>(kPlacedShift)) {}

  void compute(const Call& call, const CudaRun& run) const override {
    check_grid(call, call.dims['L'], grid_.height, grid_.width);
    cuda::int_window_attention(call.data<int8_t>(kQkv), call.dims['N'], constants_.get(call.dims['C']),
                               {grid_, padding_.get(), bias_.get(), placed_multiplier_, placed_shift_},
                               call.output<int8_t>(), run.stream);
  }

 private:
  template <class T>
  static cuda::DeviceArray<T> parameter(const Call& constants, size_t input, int64_t size) {
    const T* const values = constants.data<T>(input);
    return cuda::DeviceArray<T>(std::vector<T>(values, values + size));
  }

  static WindowGrid checked_grid(Call constants) {
    const std::vector<int64_t>& attributes = constants.attributes;
    // The padding says how many channels there are.
    derive_channels(constants.spec, attributes, constants.dims);
    check_window(constants, attributes[kHeads], attributes[kWindow], attributes[kShift]);
    const WindowGrid grid{attributes[kHeight], attributes[kWidth], attributes[kWindow], attributes[kShift]};
    cuda::check_window(grid, constants.dims['C'] / attributes[kHeads]);
    return grid;
  }

  AttentionConstants constants_;
  WindowGrid grid_;
  cuda::DeviceArray<int8_t> padding_;
  cuda::DeviceArray<int16_t> bias_;
  int32_t placed_multiplier_;
  int32_t placed_shift_;
};

}  // namespace

std::vector<CudaOperator> int_window_attention_cuda() {
  return {{"IntWindowAttention", create_cuda_kernel<IntWindowAttentionCuda>},
          {"IntTableWindowAttention", create_cuda_kernel<IntWindowAttentionCuda>}};
}

}  // namespace ivit::ort
