// mma and load_matrices against plain loops, with the layout of fragments written as in the PTX ISA: by element index i
// of a lane's operand, groupID = lane / 4 and threadID_in_group = lane % 4.
#include "kernels/cuda/tensor_core.h"

#include "kernels/cuda/emulator/tests/check.h"

namespace ivit::cuda {
namespace {

constexpr int ptx_a_row(int lane, int i) { return lane / 4 + (i < 4 || (i >= 8 && i < 12) ? 0 : 8); }
constexpr int ptx_a_column(int lane, int i) { return lane % 4 * 4 + (i & 3) + (i < 8 ? 0 : 16); }
constexpr int ptx_b_row(int lane, int i) { return lane % 4 * 4 + (i & 3) + (i < 4 ? 0 : 16); }
constexpr int ptx_b_column(int lane, int) { return lane / 4; }
constexpr int ptx_c_row(int lane, int i) { return lane / 4 + (i < 2 ? 0 : 8); }
constexpr int ptx_c_column(int lane, int i) { return lane % 4 * 2 + (i & 1); }

// Whether the elements of all lanes cover a matrix, each place once.
template <int kRows, int kColumns, class Row, class Column>
constexpr bool is_bijection(int elements, const Row& row, const Column& column) {
  bool taken[kRows * kColumns] = {};
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    for (int i = 0; i < elements; ++i) {
      const int r = row(lane, i), c = column(lane, i);
      if (r < 0 || r >= kRows || c < 0 || c >= kColumns || taken[r * kColumns + c]) return false;
      taken[r * kColumns + c] = true;
    }
  }
  return kWarpLanes * elements == kRows * kColumns;
}

// Element i of a lane by the functions of tensor_core.h.
constexpr int our_a_row(int lane, int i) { return a_row(lane, i / 4); }
constexpr int our_a_column(int lane, int i) { return a_column(lane, i / 4) + i % 4; }
constexpr int our_b_row(int lane, int i) { return b_row(lane, i / 4) + i % 4; }
constexpr int our_b_column(int lane, int) { return b_column(lane); }

static_assert(is_bijection<kMmaRows, kMmaInner>(16, our_a_row, our_a_column));
static_assert(is_bijection<kMmaInner, kMmaColumns>(8, our_b_row, our_b_column));
static_assert(is_bijection<kMmaRows, kMmaColumns>(4, c_row, c_column));

template <class A, class B>
constexpr bool same(int elements, const A& a, const B& b) {
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    for (int i = 0; i < elements; ++i) {
      if (a(lane, i) != b(lane, i)) return false;
    }
  }
  return true;
}

static_assert(same(16, our_a_row, ptx_a_row) && same(16, our_a_column, ptx_a_column));
static_assert(same(8, our_b_row, ptx_b_row) && same(8, our_b_column, ptx_b_column));
static_assert(same(4, c_row, ptx_c_row) && same(4, c_column, ptx_c_column));

// a [16, 32], b [32, 8], c [16, 8], row by row; every warp makes the same product.
template <Left kLeft>
void mma_kernel(const uint8_t* a, const uint8_t* b, int32_t* c) {
  const int lane = lane_index();
  uint32_t left[4] = {}, right[2] = {};
  int32_t sums[4];
  for (int i = 0; i < 16; ++i) {
    left[i / 4] |= uint32_t{a[ptx_a_row(lane, i) * kMmaInner + ptx_a_column(lane, i)]} << (8 * (i % 4));
  }
  for (int i = 0; i < 8; ++i) {
    right[i / 4] |= uint32_t{b[ptx_b_row(lane, i) * kMmaColumns + ptx_b_column(lane, i)]} << (8 * (i % 4));
  }
  for (int i = 0; i < 4; ++i) sums[i] = c[ptx_c_row(lane, i) * kMmaColumns + ptx_c_column(lane, i)];
  mma<kLeft>(sums, left, right);
  __syncthreads();
  if (warp_index() != 0) return;
  for (int i = 0; i < 4; ++i) c[ptx_c_row(lane, i) * kMmaColumns + ptx_c_column(lane, i)] = sums[i];
}

// The product by plain loops, sums modulo 2^32.
std::vector<int32_t> product(Left left, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b,
                             const std::vector<int32_t>& c) {
  std::vector<int32_t> d(c.size());
  for (int row = 0; row < kMmaRows; ++row) {
    for (int column = 0; column < kMmaColumns; ++column) {
      uint32_t sum = static_cast<uint32_t>(c[row * kMmaColumns + column]);
      for (int k = 0; k < kMmaInner; ++k) {
        const uint8_t byte = a[row * kMmaInner + k];
        const int factor = left == Left::kSigned ? static_cast<int8_t>(byte) : int{byte};
        sum += static_cast<uint32_t>(factor * static_cast<int8_t>(b[k * kMmaColumns + column]));
      }
      d[row * kMmaColumns + column] = static_cast<int32_t>(sum);
    }
  }
  return d;
}

template <Left kLeft>
void check_mma() {
  std::mt19937_64 random(1);
  for (int turn = 0; turn < 50; ++turn) {
    std::vector<uint8_t> a = random_values<uint8_t>(random, kMmaRows * kMmaInner);
    std::vector<uint8_t> b = random_values<uint8_t>(random, kMmaInner * kMmaColumns);
    const std::vector<int32_t> c = random_values<int32_t>(random, kMmaRows * kMmaColumns);
    if (turn == 0) {
      for (uint8_t& byte : a) byte = 0x80;
      for (uint8_t& byte : b) byte = 0x80;
    }
    DeviceArray<int32_t> sums(c);
    launch(mma_kernel<kLeft>, {dim3(1), 64, 0, nullptr}, DeviceArray<uint8_t>(a).get(), DeviceArray<uint8_t>(b).get(),
           sums.get());
    check_arrays(to_host(sums), product(kLeft, a, b, c), "mma");
  }
}

// Four matrices of 8 rows of 16 bytes, row i of matrix m at 16 * place(8 * m + i) of shared memory.
void load_kernel(const uint8_t* matrices, uint32_t* registers) {
  uint8_t* const shared = shared_memory<uint8_t>();
  const int lane = lane_index();
  const auto place = [](int row) { return row ^ 5; };
  for (int i = 0; i < 16; ++i) shared[16 * place(lane) + i] = matrices[16 * lane + i];
  __syncwarp();
  uint32_t loaded[4];
  load_matrices(loaded, shared + 16 * place(lane));
  for (int m = 0; m < 4; ++m) registers[4 * lane + m] = loaded[m];
}

void load_matrices_by_loops() {
  std::mt19937_64 random(2);
  for (int turn = 0; turn < 20; ++turn) {
    const std::vector<uint8_t> matrices = random_values<uint8_t>(random, 512);
    DeviceArray<uint32_t> registers(128);
    launch(load_kernel, {dim3(1), 32, 512, nullptr}, DeviceArray<uint8_t>(matrices).get(), registers.get());
    std::vector<uint32_t> wanted(128, 0);
    for (int lane = 0; lane < 32; ++lane) {
      for (int m = 0; m < 4; ++m) {
        for (int i = 0; i < 4; ++i) {
          wanted[4 * lane + m] |= uint32_t{matrices[128 * m + 16 * (lane / 4) + 4 * (lane % 4) + i]} << (8 * i);
        }
      }
    }
    check_arrays(to_host(registers), wanted, "load_matrices");
  }
}

// The same product with both operands through shared memory: a [16, 32], and b [8, 32], its columns as rows.
void tile_kernel(const uint8_t* a, const uint8_t* b, int32_t* c) {
  uint8_t* const left = shared_memory<uint8_t>();
  uint8_t* const right = left + kMmaRows * kMmaInner;
  const int lane = lane_index();
  copy_async16(left + 16 * lane, a + 16 * lane);
  if (lane < 16) copy_async16(right + 16 * lane, b + 16 * lane);
  commit_copies();
  wait_for_copies<0>();
  __syncwarp();
  uint32_t a_fragment[4], b_fragments[4];
  load_matrices(a_fragment, left + (lane % 16) * kMmaInner + 16 * (lane / 16));
  // Two matrices are all of b; the other two are read and not used.
  load_matrices(b_fragments, right + (lane % 8) * kMmaInner + 16 * (lane / 8 % 2));
  const uint32_t b_fragment[2] = {b_fragments[0], b_fragments[1]};
  int32_t sums[4] = {};
  mma<Left::kSigned>(sums, a_fragment, b_fragment);
  for (int i = 0; i < 4; ++i) c[c_row(lane, i) * kMmaColumns + c_column(lane, i)] = sums[i];
}

void tile_through_shared_memory() {
  std::mt19937_64 random(3);
  for (int turn = 0; turn < 20; ++turn) {
    const std::vector<uint8_t> a = random_values<uint8_t>(random, kMmaRows * kMmaInner);
    const std::vector<uint8_t> b = random_values<uint8_t>(random, kMmaInner * kMmaColumns);
    std::vector<uint8_t> columns(b.size());
    for (int k = 0; k < kMmaInner; ++k) {
      for (int j = 0; j < kMmaColumns; ++j) columns[j * kMmaInner + k] = b[k * kMmaColumns + j];
    }
    DeviceArray<int32_t> sums(kMmaRows * kMmaColumns);
    launch(tile_kernel, {dim3(1), 32, 16 * 32 + 32 * 8, nullptr}, DeviceArray<uint8_t>(a).get(),
           DeviceArray<uint8_t>(columns).get(), sums.get());
    check_arrays(to_host(sums), product(Left::kSigned, a, b, std::vector<int32_t>(sums.size(), 0)), "tile");
  }
}

}  // namespace

std::vector<Test> tensor_core_tests() {
  return {{"mma_signed", check_mma<Left::kSigned>},
          {"mma_unsigned", check_mma<Left::kUnsigned>},
          {"load_matrices", load_matrices_by_loops},
          {"tile", tile_through_shared_memory}};
}

}  // namespace ivit::cuda
