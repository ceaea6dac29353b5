// IntWindowAttention, IntTableWindowAttention on the GPU.
#include "kernels/cuda/int_window_attention.h"

#include "ort/cuda/attention_constants.h"
#include "ort/cuda/cuda_kernel.h"
#include "ort/operators/window_grid.h"

namespace ivit::ort {
namespace {

template <class Op>
class IntWindowAttentionCuda final : public CudaKernel {
 public:
  explicit IntWindowAttentionCuda(const Call& constants)
      : constants_(constants),
        grid_(checked_grid(constants)),
        padding_(padding(constants)),
        bias_(
            cuda::window_bias(grid_, constants.attributes[Op::kHeads], constants.data<int16_t>(Op::kRelativePosition))),
        biased_multiplier_(*constants.data<int32_t>(Op::kPlacedMultiplier)),
        biased_shift_(*constants.data<int8_t>(Op::kPlacedShift)) {}

  void compute(const Call& call, const CudaRun& run) const override {
    cuda::int_window_attention(call.data<int8_t>(Op::kQkv), call.dims['N'], constants_.get(call.dims['C']),
                               {grid_, padding_.get(), bias_.get(), biased_multiplier_, biased_shift_},
                               call.output<int8_t>(), run.stream);
  }

 private:
  static cuda::DeviceArray<int8_t> padding(const Call& constants) {
    const int8_t* const values = constants.data<int8_t>(Op::kPadding);
    return cuda::DeviceArray<int8_t>(std::vector<int8_t>(values, values + constants.input_dim(Op::kPadding, 0)));
  }

  static WindowGrid checked_grid(const Call& constants) {
    const WindowGrid grid = window_grid<Op>(constants);
    // The padding says how many channels there are.
    cuda::check_window(grid, constants.dims['C'] / constants.attributes[Op::kHeads]);
    return grid;
  }

  AttentionConstants<Op> constants_;
  WindowGrid grid_;
  cuda::DeviceArray<int8_t> padding_;
  cuda::DeviceArray<int16_t> bias_;
  int32_t biased_multiplier_;
  int32_t biased_shift_;
};

}  // namespace

IVIT_CUDA_KERNEL(IntWindowAttention, IntWindowAttentionCuda)
IVIT_CUDA_KERNEL(IntTableWindowAttention, IntWindowAttentionCuda)

}  // namespace ivit::ort
