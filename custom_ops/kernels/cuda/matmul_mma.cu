// The matrix product by mma: a block computes one tile of the result.
//
// The block walks along the inner dimension in steps of 64 bytes. Slices of x and of the weight for the next steps are
// on their way to shared memory while the present ones are multiplied. Each warp keeps the accumulators of its 16 to
// 64 rows and 64 columns in registers, from the bias on, and finishes them there.
#include "kernels/cuda/matmul_epilogue.h"
#include "kernels/cuda/matmul_layout.h"
#include "kernels/cuda/matmul_loader.h"
#include "kernels/cuda/matmul_mma.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

// A block of kWarpsDown * kWarpsAcross warps, each with kBlocks times 16 rows and with 64 columns; kStages slices are
// in shared memory. With two splits there are twice as many warps, each of which takes one half of every slice: the
// multiprocessors are busier where there is little to do, and the sums meet at the end.
template <int kBlocks_, int kWarpsDown_, int kWarpsAcross_, int kStages_, int kBlocksPerMultiprocessor_, int kSplits_>
struct TileConfig {
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kWarpsAcross = kWarpsAcross_;
  static constexpr int kStages = kStages_;
  static constexpr int kBlocksPerMultiprocessor = kBlocksPerMultiprocessor_;
  static constexpr int kSplits = kSplits_;
  static constexpr int kWarps = kWarpsDown_ * kWarpsAcross_;
  static constexpr int kThreads = kWarps * kSplits_ * kWarpLanes;
  static constexpr int kWarpRows = kBlocks_ * kMmaRows;
  static constexpr int kRows = kWarpsDown_ * kWarpRows;
  static constexpr int kColumns = kWarpsAcross_ * kWarpColumns;
  static constexpr int kXBytes = kRows * kStepBytes;
  static constexpr int kStageBytes = (kRows + kColumns) * kStepBytes;
  static constexpr int kSharedBytes = kStages_ * kStageBytes;
  // Chunks that a thread copies of each slice.
  static constexpr int kXCopies = kRows * kStepChunks / kThreads;
  static constexpr int kWeightCopies = kColumns * kStepChunks / kThreads;
  // Rows between two chunks of a thread.
  static constexpr int kCopyRows = kThreads / kStepChunks;
  static_assert(kXCopies * kCopyRows == kRows && kWeightCopies * kCopyRows == kColumns);
  static_assert(kSharedBytes <= 48 * 1024);
};

// In the order of kTiles.
using Tile0 = TileConfig<4, 2, 2, 3, 2, 1>;
using Tile1 = TileConfig<2, 4, 1, 4, 3, 1>;
using Tile2 = TileConfig<1, 4, 1, 5, 4, 1>;
using Tile3 = TileConfig<1, 2, 1, 6, 4, 2>;

template <class Config>
constexpr bool is_tile(int index) {
  return kTiles[index].rows == Config::kRows && kTiles[index].columns == Config::kColumns;
}
static_assert(is_tile<Tile0>(0) && is_tile<Tile1>(1) && is_tile<Tile2>(2) && is_tile<Tile3>(3) && kTileCount == 4);

// Blocks of 16 rows whose further operands a warp loads together.
constexpr int kFinishBlocks = 2;

// Modulo 2^32, as the sums of the tensor cores.
__device__ inline int32_t add_modulo(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

template <class Config>
using Accumulators = int32_t[Config::kBlocks][kWarpProducts][4];

// Where a lane's run of values stands in the result.
struct ResultPlace {
  int64_t rows;
  int64_t columns;
  int64_t warp_row;
  int64_t warp_first;
  bool vectors;  // Whether runs of eight columns are aligned and never cut.

  __device__ __forceinline__ RunPlace run(int block, int upper, int run) const {
    return {warp_row + block * kMmaRows + c_row(lane_index(), 2 * upper), warp_first + run_column(lane_index(), run),
            columns, vectors};
  }
  __device__ __forceinline__ bool has(const RunPlace& run) const { return run.row < rows && run.column < columns; }
};

// Every accumulator starts with the bias of its column, and those of a second split with zero.
template <class Config>
__device__ __forceinline__ void start(Accumulators<Config>& sums, const Linear& linear, int64_t warp_first, int split) {
#pragma unroll
  for (int product = 0; product < kWarpProducts; ++product) {
    const int column = run_column(lane_index(), product / 4) + 2 * (product % 4);
    int2 bias = *reinterpret_cast<const int2*>(linear.bias + warp_first + column);
    if (split > 0) bias = {0, 0};
#pragma unroll
    for (int block = 0; block < Config::kBlocks; ++block) {
      sums[block][product][0] = sums[block][product][2] = bias.x;
      sums[block][product][1] = sums[block][product][3] = bias.y;
    }
  }
}

// Every accumulator starts with the bias of its column that its row takes, and those of a second split with zero.
template <class Config>
__device__ __forceinline__ void start_by_rows(Accumulators<Config>& sums, const RowScales& scales,
                                              const ResultPlace& result, int split) {
#pragma unroll
  for (int block = 0; block < Config::kBlocks; ++block) {
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const int64_t row = result.run(block, upper, 0).row;
      const int64_t chosen = row < result.rows ? scales.chosen[row] : 0;
      const int32_t* const biases = scales.bias + chosen * scales.padded_columns + result.warp_first;
#pragma unroll
      for (int product = 0; product < kWarpProducts; ++product) {
        const int column = run_column(lane_index(), product / 4) + 2 * (product % 4);
        int2 bias = *reinterpret_cast<const int2*>(biases + column);
        if (split > 0) bias = {0, 0};
        sums[block][product][2 * upper] = bias.x;
        sums[block][product][2 * upper + 1] = bias.y;
      }
    }
  }
}

// Adds the product of two slices, or of this split's halves. The places are those of this lane's first chunks.
template <class Config>
__device__ __forceinline__ void multiply(Accumulators<Config>& sums, const int8_t* stage, int x_first,
                                         int weight_first) {
#pragma unroll
  for (int half = 0; half < 2 / Config::kSplits; ++half) {
    uint32_t left[Config::kBlocks][4];
#pragma unroll
    for (int block = 0; block < Config::kBlocks; ++block) {
      load_matrices(left[block], stage + half_step(x_first, half) + x_block_step(block));
    }
#pragma unroll
    for (int pair = 0; pair < kWarpProducts / 2; ++pair) {
      uint32_t loaded[4];
      load_matrices(loaded, stage + Config::kXBytes + half_step(weight_first, half) + weight_pair_step(pair));
      const uint32_t right[2][2] = {{loaded[0], loaded[1]}, {loaded[2], loaded[3]}};
#pragma unroll
      for (int block = 0; block < Config::kBlocks; ++block) {
        mma<Left::kSigned>(sums[block][2 * pair], left[block], right[0]);
        mma<Left::kSigned>(sums[block][2 * pair + 1], left[block], right[1]);
      }
    }
  }
}

// Adds the sums of the second split to those of the first, through the memory of the slices.
template <class Config>
__device__ __forceinline__ void add_splits(Accumulators<Config>& sums, int8_t* stages, int warp, int split) {
  constexpr int kVectors = Config::kBlocks * kWarpProducts;
  static_assert(Config::kSplits == 2 && Config::kWarps * kVectors * kWarpLanes * 16 <= Config::kSharedBytes);
  int4* const memory = reinterpret_cast<int4*>(stages) + warp * kVectors * kWarpLanes + lane_index();
  // No thread still reads the slices.
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const auto& sum = sums[i / kWarpProducts][i % kWarpProducts];
    if (split == 1) memory[i * kWarpLanes] = {sum[0], sum[1], sum[2], sum[3]};
  }
  __syncthreads();
  if (split == 1) return;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int4 other = memory[i * kWarpLanes];
    auto& sum = sums[i / kWarpProducts][i % kWarpProducts];
    sum[0] = add_modulo(sum[0], other.x);
    sum[1] = add_modulo(sum[1], other.y);
    sum[2] = add_modulo(sum[2], other.z);
    sum[3] = add_modulo(sum[3], other.w);
  }
}

// Accumulators to values at the scale of the result, in place; kNarrow is that of the layer.
template <class Config, bool kNarrow>
__device__ __forceinline__ void requantize(Accumulators<Config>& sums, const Linear& linear, int64_t warp_first) {
#pragma unroll
  for (int run = 0; run < kRuns; ++run) {
    const RunScale scale = load_run_scale(linear, warp_first + run_column(lane_index(), run));
#pragma unroll
    for (int block = 0; block < Config::kBlocks; ++block) {
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        const int in_run = 2 * (i / 4) + i % 2;
        int32_t& sum = sums[block][4 * run + i / 4][i % 4];
        sum = kNarrow ? scale_narrow(sum, scale.multiplier[in_run], scale.shift[in_run])
                      : scale_wide(sum, scale.multiplier[in_run], scale.shift[in_run]);
      }
    }
  }
}

// Finishes and stores all of a warp's values.
template <class Config, Epilogue::Kind kKind>
__device__ __forceinline__ void finish(const Accumulators<Config>& values, const Epilogue& epilogue,
                                       const ResultPlace& result) {
  constexpr int kBatch = Config::kBlocks < kFinishBlocks ? Config::kBlocks : kFinishBlocks;
#pragma unroll
  for (int first = 0; first < Config::kBlocks; first += kBatch) {
    typename Finish<kKind>::Inputs inputs[kBatch][2][kRuns];
#pragma unroll
    for (int i = 0; i < kBatch * 2 * kRuns; ++i) {
      const RunPlace place = result.run(first + i / 4, i / 2 % 2, i % 2);
      if (result.has(place)) inputs[i / 4][i / 2 % 2][i % 2] = Finish<kKind>::load_inputs(epilogue, place);
    }
#pragma unroll
    for (int i = 0; i < kBatch * 2 * kRuns; ++i) {
      const int upper = i / 2 % 2;
      const int run = i % 2;
      const RunPlace place = result.run(first + i / 4, upper, run);
      if (!result.has(place)) continue;
      RunOfValues v;
#pragma unroll
      for (int j = 0; j < kRun; ++j) v[j] = values[first + i / 4][4 * run + j / 2][2 * upper + j % 2];
      Finish<kKind>::run(epilogue, place, inputs[i / 4][upper][run], v);
    }
  }
}

// Finishes values as the epilogue says, which is the same for all blocks.
template <class Config>
__device__ __forceinline__ void finish_as_told(const Accumulators<Config>& values, const Epilogue& epilogue,
                                               const ResultPlace& result) {
  using Kind = Epilogue::Kind;
  switch (epilogue.kind) {
    case Kind::kInt8:
      return finish<Config, Kind::kInt8>(values, epilogue, result);
    case Kind::kInt16:
      return finish<Config, Kind::kInt16>(values, epilogue, result);
    case Kind::kInt32:
      return finish<Config, Kind::kInt32>(values, epilogue, result);
    case Kind::kClamped8:
      return finish<Config, Kind::kClamped8>(values, epilogue, result);
    case Kind::kAdd16:
      return finish<Config, Kind::kAdd16>(values, epilogue, result);
    case Kind::kRowAdd16:
      return finish<Config, Kind::kRowAdd16>(values, epilogue, result);
    case Kind::kPosition16:
      return finish<Config, Kind::kPosition16>(values, epilogue, result);
  }
}

// Adds all products of the tile's rows and columns. The first slices are on their way.
template <class Config>
__device__ __forceinline__ void multiply_slices(Accumulators<Config>& sums, SliceLoader<Config>& loader, int8_t* stages,
                                                int64_t steps, int x_first, int weight_first) {
  int present = 0;
  int next = Config::kStages - 1;
  for (int64_t step = 0; step < steps; ++step) {
    wait_for_copies<Config::kStages - 2>();
    // Every thread's copies are there, and none still reads the slice before, whose place is now free.
    __syncthreads();
    if (step + Config::kStages - 1 < steps) loader.load_next(stages + next * Config::kStageBytes);
    commit_copies();
    multiply<Config>(sums, stages + present * Config::kStageBytes, x_first, weight_first);
    next = present;
    present = present + 1 == Config::kStages ? 0 : present + 1;
  }
}

// The tile blockIdx.x of a result that is `across` tiles wide.
template <class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocksPerMultiprocessor)
    matmul_tile(const Rows rows, const Linear linear, const Epilogue epilogue, const bool vectors,
                const unsigned across) {
  int8_t* const stages = shared_memory<int8_t>();
  // Neighbouring blocks have the same rows, which are then in the second-level cache.
  const int64_t first_row = int64_t{blockIdx.x / across} * Config::kRows;
  const int64_t first_column = int64_t{blockIdx.x % across} * Config::kColumns;
  SliceLoader<Config> loader(rows, linear, first_row, first_column);
  const int64_t steps = linear.padded_inner / kStepBytes;
#pragma unroll 1
  for (int stage = 0; stage < Config::kStages - 1; ++stage) {
    if (stage < steps) loader.load_next(stages + stage * Config::kStageBytes);
    commit_copies();
  }

  const int lane = lane_index();
  const int warp = warp_index() % Config::kWarps;
  const int split = warp_index() / Config::kWarps;
  const int row = warp / Config::kWarpsAcross * Config::kWarpRows;
  const int column = warp % Config::kWarpsAcross * kWarpColumns;
  const ResultPlace result{rows.count, linear.columns, first_row + row, first_column + column, vectors};
  Accumulators<Config> sums;
  if (epilogue.kind == Epilogue::Kind::kRowAdd16) {
    start_by_rows<Config>(sums, epilogue.rows, result, split);
  } else {
    start<Config>(sums, linear, result.warp_first, split);
  }
  const int x_first = x_place(row + x_lane_row(lane), x_lane_chunk(lane));
  const int weight_first = weight_place(column + weight_lane_row(lane, 0), weight_lane_chunk(lane));
  multiply_slices<Config>(sums, loader, stages, steps, half_step(x_first, split), half_step(weight_first, split));
  wait_for_copies<0>();
  if constexpr (Config::kSplits > 1) {
    add_splits<Config>(sums, stages, warp, split);
    if (split > 0) return;
  }
  if (linear.narrow) {
    requantize<Config, true>(sums, linear, result.warp_first);
  } else {
    requantize<Config, false>(sums, linear, result.warp_first);
  }
  finish_as_told<Config>(sums, epilogue, result);
}

// Whether runs of eight columns can be loaded and stored as vectors.
bool has_vectors(const Epilogue& epilogue, int64_t columns) {
  return columns % kRun == 0 && is_aligned(epilogue.y, 16) && is_aligned(epilogue.residual, 16) &&
         is_aligned(epilogue.position, 16);
}

template <class Config>
void launch_tile(const Rows& rows, const Linear& linear, const Epilogue& epilogue, Stream stream) {
  const int64_t down = divide_up(rows.count, Config::kRows);
  const int64_t across = divide_up(linear.columns, Config::kColumns);
  launch(matmul_tile<Config>,
         Launch{dim3(static_cast<unsigned>(down * across)), Config::kThreads, Config::kSharedBytes, stream}, rows,
         linear, epilogue, has_vectors(epilogue, linear.columns), static_cast<unsigned>(across));
}

}  // namespace

void matmul_mma(int tile, const int8_t* x, int64_t x_stride, int64_t rows, const Linear& linear,
                const Epilogue& epilogue, Stream stream) {
  // Rows without elements have no address; none of them is read.
  const int8_t* const address = linear.inner == 0 ? linear.weight : x;
  const Rows left{address, x_stride, rows, is_aligned(address, kChunkBytes) && x_stride % kChunkBytes == 0};
  constexpr decltype(&launch_tile<Tile0>) kLaunch[] = {launch_tile<Tile0>, launch_tile<Tile1>, launch_tile<Tile2>,
                                                       launch_tile<Tile3>};
  kLaunch[tile](left, linear, epilogue, stream);
}

}  // namespace ivit::cuda
