#include <type_traits>

#include "kernels/common/integer.h"
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/look_up.h"

namespace ivit::cuda {
namespace {

constexpr int kWarps = 4;
// Bytes that the lanes of a warp take at a time, 16 each.
constexpr int kChunk = 16 * kWarpLanes;
// Four times the lowest value.
constexpr uint32_t kLowest = 0x80808080;

// The largest of some bytes: in every word, each byte in turn becomes the uppermost one, which decides the order of
// words as signed numbers.
class ByteMaximum {
 public:
  __device__ void add(uint32_t word) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t shifted = static_cast<int32_t>(word << (8 * i));
      word_ = word_ > shifted ? word_ : shifted;
    }
  }
  __device__ void add(const uint4& words) {
    add(words.x);
    add(words.y);
    add(words.z);
    add(words.w);
  }
  // The largest of all lanes as an index of a table.
  __device__ int index_of_warp() const {
    return static_cast<int>(static_cast<uint32_t>(reduce_lanes(word_, Greater{})) >> 24);
  }

 private:
  int32_t word_ = INT32_MIN;
};

// The table that a row takes: that of its maximum, an index of 0 to 255.
struct ByMaximum {
  __device__ int table(int maximum, int64_t, bool) const { return maximum; }
};

// That of a scale, which the maximum chooses. One thread stores it.
struct ByScale {
  const uint8_t* scale_of_maximum;
  int32_t* chosen;
  __device__ int table(int maximum, int64_t row, bool stores) const {
    const int scale = scale_of_maximum[maximum];
    if (stores) chosen[row] = scale;
    return scale;
  }
};

// What becomes of the value of a table: tables of results.
template <class T>
struct Plain {
  using Entry = T;
  using Out = T;
  __device__ T operator()(T entry, int64_t) const { return entry; }
};

// Tables of values, which are requantised.
struct PerChannel {
  using Entry = int16_t;
  using Out = int8_t;
  Dyadic scale;
  __device__ int8_t operator()(int16_t entry, int64_t channel) const {
    return saturate<int8_t>(scale.scale(entry, channel));
  }
};

// A warp for each row, which stays in registers; `channels` is a multiple of 16 and at most kChunks * kChunk. T is an
// unsigned type as wide as results. Shared memory: 256 results for each warp.
template <int kChunks, class T, class Choice>
__global__ void __launch_bounds__(kWarps* kWarpLanes)
    gelu_in_registers(const int8_t* x, int64_t rows, int channels, const T* table, Choice choice, T* y) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row >= rows) return;
  const int lane = lane_index();
  uint4 values[kChunks];
  ByteMaximum maximum;
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    const int channel = kChunk * j + 16 * lane;
    values[j] = {kLowest, kLowest, kLowest, kLowest};
    if (channel < channels) values[j] = *reinterpret_cast<const uint4*>(x + row * channels + channel);
    maximum.add(values[j]);
  }
  const T* const source = table + 256 * choice.table(maximum.index_of_warp(), row, lane == 0);
  T* const results = shared_memory<T>() + 256 * warp_index();
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) {
    reinterpret_cast<uint2*>(results)[kWarpLanes * i + lane] =
        reinterpret_cast<const uint2*>(source)[kWarpLanes * i + lane];
  }
  __syncwarp();
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    const int channel = kChunk * j + 16 * lane;
    if (channel < channels) look_up_to(values[j], results, y + row * channels + channel);
  }
}

// A block for each row of any width. Shared memory: 256 entries of the table, and a word for each warp.
template <class Finish, class Choice>
__global__ void gelu_by_blocks(const int8_t* x, int64_t channels, const typename Finish::Entry* table, Choice choice,
                               Finish finish, typename Finish::Out* y) {
  using Entry = typename Finish::Entry;
  Entry* const results = shared_memory<Entry>();
  const int64_t first = int64_t{blockIdx.x} * channels;
  int32_t row_max = INT8_MIN;
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    row_max = Greater{}(row_max, static_cast<int32_t>(x[first + c]));
  }
  row_max = reduce_block(row_max, Greater{}, reinterpret_cast<int32_t*>(results + 256));
  const Entry* const source = table + 256 * choice.table(static_cast<uint8_t>(row_max), blockIdx.x, threadIdx.x == 0);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += static_cast<int>(blockDim.x)) {
    results[i] = source[i];
  }
  __syncthreads();
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    y[first + c] = finish(results[static_cast<uint8_t>(x[first + c])], c);
  }
}

template <int kChunks, class T, class Choice>
void launch_in_registers(const int8_t* x, int64_t rows, int64_t channels, const T* table, const Choice& choice, T* y,
                         Stream stream) {
  using Unsigned = std::make_unsigned_t<T>;
  launch(gelu_in_registers<kChunks, Unsigned, Choice>,
         {dim3(static_cast<unsigned>(divide_up(rows, kWarps))), kWarps * kWarpLanes, kWarps * 256 * sizeof(T), stream},
         x, rows, static_cast<int>(channels), reinterpret_cast<const Unsigned*>(table), choice,
         reinterpret_cast<Unsigned*>(y));
}

template <class Finish, class Choice>
void launch_by_blocks(const int8_t* x, int64_t rows, int64_t channels, const typename Finish::Entry* table,
                      const Choice& choice, const Finish& finish, typename Finish::Out* y, Stream stream) {
  const int threads = channels <= 256 ? 64 : 256;
  const size_t shared_bytes = 256 * sizeof(typename Finish::Entry) + threads / kWarpLanes * sizeof(int32_t);
  launch(gelu_by_blocks<Finish, Choice>, {dim3(static_cast<unsigned>(rows)), threads, shared_bytes, stream}, x,
         channels, table, choice, finish, y);
}

// x and y may be the same.
template <class T, class Choice>
void look_up_rows(const int8_t* x, int64_t rows, int64_t channels, const T* table, const Choice& choice, T* y,
                  Stream stream) {
  const bool vectors = channels % 16 == 0 && is_aligned(x, 16) && is_aligned(y, 16);
  const int64_t chunks = vectors ? divide_up(channels, kChunk) : 17;
  if (chunks <= 1) return launch_in_registers<1>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 2) return launch_in_registers<2>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 3) return launch_in_registers<3>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 4) return launch_in_registers<4>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 6) return launch_in_registers<6>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 8) return launch_in_registers<8>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 12) return launch_in_registers<12>(x, rows, channels, table, choice, y, stream);
  if (chunks <= 16) return launch_in_registers<16>(x, rows, channels, table, choice, y, stream);
  launch_by_blocks(x, rows, channels, table, choice, Plain<T>{}, y, stream);
}

}  // namespace

void shift_gelu(const int8_t* x, int64_t rows, int64_t channels, const GeluValues& values, int16_t* y, Stream stream) {
  look_up_rows(x, rows, channels, values.table(), ByMaximum{}, y, stream);
}

void gelu_rows(int8_t* x, int64_t rows, int64_t channels, const GeluRows& table, Stream stream) {
  if (table.bytes() != nullptr) {
    look_up_rows(x, rows, channels, table.bytes(), ByMaximum{}, x, stream);
  } else {
    launch_by_blocks(x, rows, channels, table.values(), ByMaximum{}, PerChannel{table.scale()}, x, stream);
  }
}

void token_gelu(int8_t* x, int64_t rows, int64_t channels, const TokenTables& tables, int32_t* chosen, Stream stream) {
  look_up_rows(x, rows, channels, tables.bytes(), ByScale{tables.scale_of_maximum(), chosen}, x, stream);
}

}  // namespace ivit::cuda
