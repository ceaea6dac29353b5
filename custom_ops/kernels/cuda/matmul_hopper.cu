// The product is CUTLASS's, with tiles of 128 x 128 that two groups of warps compute in turn: one multiplies while the
// other finishes its tile. What happens to accumulators is a tree of nodes, whose arithmetic is that of the other
// kernels.
#include <cutlass/cutlass.h>
#include <cutlass/gemm/device/gemm_universal_adapter.h>

#include <cute/tensor.hpp>
#include <cutlass/epilogue/collective/collective_builder.hpp>
#include <cutlass/epilogue/fusion/sm90_callbacks_tma_warpspecialized.hpp>
#include <cutlass/gemm/collective/collective_builder.hpp>
#include <cutlass/gemm/kernel/gemm_universal.hpp>

#include "kernels/cuda/matmul_epilogue.h"
#include "kernels/cuda/matmul_hopper.h"

namespace ivit::cuda {
namespace {

namespace fusion = cutlass::epilogue::fusion;
using cute::_0;
using cute::_1;
using cute::_128;
using cute::Shape;
using cute::Stride;

using Tile = Shape<_128, _128, _128>;
using Cluster = Shape<_1, _1, _1>;
constexpr auto kRound = cutlass::FloatRoundStyle::round_to_nearest;  // of no meaning for integers

// A sum with its bias, at the scale of the output, clamped to the range of Out.
template <class Out>
CUTLASS_DEVICE int32_t requantized(int32_t sum, int32_t bias, int32_t multiplier, int32_t shift, bool narrow) {
  const int32_t x = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(bias));
  return clamp_to<Out>(narrow ? scale_narrow(x, multiplier, shift) : scale_wide(x, multiplier, shift));
}

// That of values and columns side by side. Nodes of the tree take as many values as a thread has.
template <class Out>
struct Requantize {
  struct Options {
    bool narrow;
  };
  template <class Values>
  struct Node {
    using Arguments = Options;
    CUTLASS_DEVICE Values operator()(const Values& sum, const Values& bias, const Values& multiplier,
                                     const Values& shift, const Options& options) const {
      Values y;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < Values::kElements; ++i) {
        y[i] = requantized<Out>(sum[i], bias[i], multiplier[i], shift[i], options.narrow);
      }
      return y;
    }
  };
};

// A row's choice of row scales. Those of rows behind the last one were never loaded, and may have any value.
CUTLASS_DEVICE int32_t valid_choice(int32_t chosen, const RowScales& scales) {
  return static_cast<uint32_t>(chosen) < static_cast<uint32_t>(scales.count) ? chosen : 0;
}

// Requantize<int16_t> with the bias that the row takes.
struct RequantizeRows {
  struct Options {
    RowScales scales;
    bool narrow;
  };
  template <class Values>
  struct Node {
    using Arguments = Options;
    CUTLASS_DEVICE Values operator()(const Values& sum, const Values& chosen, const Values& column,
                                     const Values& multiplier, const Values& shift, const Options& options) const {
      const RowScales& scales = options.scales;
      Values y;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < Values::kElements; ++i) {
        const int32_t bias = scales.bias[valid_choice(chosen[i], scales) * scales.padded_columns + column[i]];
        y[i] = requantized<int16_t>(sum[i], bias, multiplier[i], shift[i], options.narrow);
      }
      return y;
    }
  };
};

// 16-bit tensors go through the copy engine as unsigned numbers, which have the same bits.
struct AddResidual {
  struct Options {
    ScalarScale branch;
    ScalarScale residual;
  };
  template <class Values>
  struct Node {
    using Arguments = Options;
    CUTLASS_DEVICE Values operator()(const Values& branch, const Values& residual, const Options& options) const {
      Values y;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < Values::kElements; ++i) {
        const int32_t stream = static_cast<int16_t>(residual[i]);
        y[i] = static_cast<uint16_t>(add_scaled(branch[i], options.branch, stream, options.residual,
                                                options.branch.narrow && options.residual.narrow));
      }
      return y;
    }
  };
};

// The same with the branch that the row takes.
struct AddRowResidual {
  struct Options {
    RowScales scales;
    ScalarScale residual;
  };
  template <class Values>
  struct Node {
    using Arguments = Options;
    CUTLASS_DEVICE Values operator()(const Values& branch, const Values& chosen, const Values& residual,
                                     const Options& options) const {
      const RowScales& scales = options.scales;
      Values y;
      CUTLASS_PRAGMA_UNROLL
      for (int i = 0; i < Values::kElements; ++i) {
        const int32_t stream = static_cast<int16_t>(residual[i]);
        y[i] = static_cast<uint16_t>(add_scaled(branch[i], scales.branch[valid_choice(chosen[i], scales)], stream,
                                                options.residual, scales.narrow && options.residual.narrow));
      }
      return y;
    }
  };
};

template <class T>
using PerColumn = fusion::Sm90RowBroadcast<0, Tile, T, int32_t, Stride<_0, _1, _0>>;

using PerRow = fusion::Sm90ColBroadcast<0, Tile, int32_t, int32_t, Stride<_1, _0, _0>>;

// Values of type Out, in the range of Range.
template <class Range, class Out>
using RequantizeTree = fusion::Sm90EVT<fusion::Sm90Compute<Requantize<Range>::template Node, Out, int32_t, kRound>,
                                       fusion::Sm90AccFetch, PerColumn<int32_t>, PerColumn<int32_t>, PerColumn<int8_t>>;

using AddTree = fusion::Sm90EVT<fusion::Sm90Compute<AddResidual::Node, uint16_t, int32_t, kRound>,
                                RequantizeTree<int16_t, int32_t>, fusion::Sm90SrcFetch<uint16_t>>;

using RequantizeRowsTree =
    fusion::Sm90EVT<fusion::Sm90Compute<RequantizeRows::Node, int32_t, int32_t, kRound>, fusion::Sm90AccFetch, PerRow,
                    PerColumn<int32_t>, PerColumn<int32_t>, PerColumn<int8_t>>;

using AddRowTree = fusion::Sm90EVT<fusion::Sm90Compute<AddRowResidual::Node, uint16_t, int32_t, kRound>,
                                   RequantizeRowsTree, PerRow, fusion::Sm90SrcFetch<uint16_t>>;

template <class Out, class Source, class Tree>
struct Product {
  using Epilogue = typename cutlass::epilogue::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Tile, Cluster,
      cutlass::epilogue::collective::EpilogueTileAuto, int32_t, int32_t, Source, cutlass::layout::RowMajor,
      16 / sizeof(Out), Out, cutlass::layout::RowMajor, 16 / sizeof(Out), cutlass::epilogue::TmaWarpSpecialized,
      Tree>::CollectiveOp;
  using Mainloop = typename cutlass::gemm::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, int8_t, cutlass::layout::RowMajor, 16, int8_t,
      cutlass::layout::ColumnMajor, 16, int32_t, Tile, Cluster,
      cutlass::gemm::collective::StageCountAutoCarveout<static_cast<int>(sizeof(typename Epilogue::SharedStorage))>,
      cutlass::gemm::KernelTmaWarpSpecializedPingpong>::CollectiveOp;
  using Adapter = cutlass::gemm::device::GemmUniversalAdapter<
      cutlass::gemm::kernel::GemmUniversal<Shape<int, int, int, int>, Mainloop, Epilogue>>;
};

struct LeftRows {
  const int8_t* x;
  int64_t stride;
  int64_t rows;
};

auto stride_of(int64_t stride) { return cute::make_stride(stride, _1{}, int64_t{0}); }

void check(cutlass::Status status, const char* call) {
  if (status == cutlass::Status::kSuccess) return;
  throw CudaError(std::string(call) + ": " + cutlass::cutlassGetStatusString(status));
}

template <class P, class Tree, class Source, class Out>
void run(const LeftRows& left, const Linear& linear, const Tree& tree, const Source* source, Out* y, Stream stream) {
  typename P::Adapter product;
  const int rows = static_cast<int>(left.rows);
  const int columns = static_cast<int>(linear.columns);
  const cutlass::KernelHardwareInfo hardware{0, current_device().multiprocessors};
  const typename P::Adapter::Arguments arguments{
      cutlass::gemm::GemmUniversalMode::kGemm,
      {rows, columns, static_cast<int>(linear.inner), 1},
      {left.x, stride_of(left.stride), linear.weight, stride_of(linear.padded_inner)},
      {tree, source, stride_of(linear.columns), y, stride_of(linear.columns)},
      hardware};
  const cudaStream_t cuda_stream = static_cast<cudaStream_t>(stream);
  // It wants no workspace; asking for one would be an allocation.
  if (P::Adapter::get_workspace_size(arguments) != 0) throw CudaError("matmul_hopper: unexpected workspace");
  check(product.initialize(arguments, nullptr, cuda_stream), "GemmUniversalAdapter::initialize");
  check(product.run(cuda_stream), "GemmUniversalAdapter::run");
}

template <class Tree>
typename Tree::Arguments requantize_arguments(const Linear& linear) {
  return {{}, {linear.bias}, {linear.multiplier}, {linear.shift}, {linear.narrow}};
}

template <class Range, class Out>
void requantize(const LeftRows& left, const Linear& linear, const Epilogue& epilogue, Stream stream) {
  using Tree = RequantizeTree<Range, Out>;
  run<Product<Out, void, Tree>>(left, linear, requantize_arguments<Tree>(linear), static_cast<const void*>(nullptr),
                                static_cast<Out*>(epilogue.y), stream);
}

void add(const LeftRows& left, const Linear& linear, const Epilogue& epilogue, Stream stream) {
  using Branch = RequantizeTree<int16_t, int32_t>;
  const typename AddTree::Arguments tree{
      requantize_arguments<Branch>(linear), {}, {epilogue.branch, epilogue.residual_scale}};
  run<Product<uint16_t, uint16_t, AddTree>>(left, linear, tree, reinterpret_cast<const uint16_t*>(epilogue.residual),
                                            static_cast<uint16_t*>(epilogue.y), stream);
}

void add_rows(const LeftRows& left, const Linear& linear, const Epilogue& epilogue, Stream stream) {
  const RowScales& scales = epilogue.rows;
  const typename RequantizeRowsTree::Arguments branch{
      {}, {scales.chosen}, {scales.column}, {linear.multiplier}, {linear.shift}, {scales, linear.narrow}};
  const typename AddRowTree::Arguments tree{branch, {scales.chosen}, {}, {scales, epilogue.residual_scale}};
  run<Product<uint16_t, uint16_t, AddRowTree>>(left, linear, tree, reinterpret_cast<const uint16_t*>(epilogue.residual),
                                               static_cast<uint16_t*>(epilogue.y), stream);
}

bool is_aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }

}  // namespace

bool matmul_hopper_takes(const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear,
                         const Epilogue& epilogue) {
  using Kind = Epilogue::Kind;
  const int64_t out_bytes = epilogue.kind == Kind::kInt8 ? 1 : 2;
  return (epilogue.kind == Kind::kInt8 || epilogue.kind == Kind::kInt16 || epilogue.kind == Kind::kAdd16 ||
          epilogue.kind == Kind::kRowAdd16) &&
         rows <= INT32_MAX && linear.inner > 0 && x_stride % 16 == 0 && linear.columns * out_bytes % 16 == 0 &&
         is_aligned(x) && is_aligned(epilogue.y) && is_aligned(epilogue.residual);
}

void matmul_hopper(const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear, const Epilogue& epilogue,
                   Stream stream) {
  const LeftRows left{x, x_stride, rows};
  switch (epilogue.kind) {
    case Epilogue::Kind::kInt8:
      return requantize<int8_t, int8_t>(left, linear, epilogue, stream);
    case Epilogue::Kind::kInt16:
      return requantize<int16_t, uint16_t>(left, linear, epilogue, stream);
    case Epilogue::Kind::kAdd16:
      return add(left, linear, epilogue, stream);
    case Epilogue::Kind::kRowAdd16:
      return add_rows(left, linear, epilogue, stream);
    default:
      throw CudaError("matmul_hopper: this epilogue is left to other kernels");
  }
}

}  // namespace ivit::cuda
