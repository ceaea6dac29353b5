// Integer tensor-core instructions and the fragments they work on.
//
// The unit is the product D = A * B + C of a 16 x 32 by a 32 x 8 matrix of bytes, sums in int32 modulo 2^32
// (PTX ISA, mma.m16n8k32). A warp holds each matrix in registers, its fragments. With group = lane / 4 and
// part = lane % 4, byte i of register r of a lane is
//
//   A  row group + 8 * (r % 2),  column 4 * part + i + 16 * (r / 2)      4 registers
//   B  row 4 * part + i + 16 * r,  column group                          2 registers
//   C, D  register r: row group + 8 * (r / 2), column 2 * part + r % 2   4 registers
//
// `a_row` and so on say the same as functions, which kernels and the emulator share.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace ivit::cuda {

constexpr int kMmaRows = 16;
constexpr int kMmaColumns = 8;
constexpr int kMmaInner = 32;
constexpr int kWarpLanes = 32;

// Whether the bytes of the left operand are signed; those of the right one always are.
enum class Left { kSigned, kUnsigned };

constexpr int a_row(int lane, int reg) { return lane / 4 + 8 * (reg % 2); }
constexpr int a_column(int lane, int reg) { return 4 * (lane % 4) + 16 * (reg / 2); }
constexpr int b_row(int lane, int reg) { return 4 * (lane % 4) + 16 * reg; }
constexpr int b_column(int lane) { return lane / 4; }
constexpr int c_row(int lane, int reg) { return lane / 4 + 8 * (reg / 2); }
constexpr int c_column(int lane, int reg) { return 2 * (lane % 4) + reg % 2; }

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x % kWarpLanes); }
__device__ inline int warp_index() { return static_cast<int>(threadIdx.x / kWarpLanes); }

#ifdef __CUDACC__

// c += a * b.
template <Left kLeft>
__device__ __forceinline__ void mma(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  if constexpr (kLeft == Left::kSigned) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#else
  // Turing has the product of 8 x 16 by 16 x 8, whose fragments are parts of these.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int rows = 0; rows < 2; ++rows) {
      if constexpr (kLeft == Left::kSigned) {
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};\n"
                     : "+r"(c[2 * rows]), "+r"(c[2 * rows + 1])
                     : "r"(a[2 * half + rows]), "r"(b[half]));
      } else {
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};\n"
                     : "+r"(c[2 * rows]), "+r"(c[2 * rows + 1])
                     : "r"(a[2 * half + rows]), "r"(b[half]));
      }
    }
  }
#endif
}

// Four 8 x 16 matrices of bytes from shared memory: lane 8 * m + i gives the address of row i of matrix m, 16 bytes,
// aligned. Register m gets, of matrix m, row lane / 4, bytes 4 * (lane % 4) onwards.
__device__ __forceinline__ void load_matrices(uint32_t (&registers)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
}

// The same for matrices of 8 x 8 elements of two bytes, transposed: register m gets, of matrix m, element lane / 4 of
// row 2 * (lane % 4) in its lower half and that of the next row in its upper half.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&registers)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
}

// Copies 16 bytes to shared memory without waiting; of these the last 16 - valid_bytes become zero and are not read.
__device__ __forceinline__ void copy_async16(void* shared, const void* global, int valid_bytes = 16) {
#if __CUDA_ARCH__ >= 800
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(global), "r"(valid_bytes)
               : "memory");
#else
  uint4 value = {0, 0, 0, 0};
  if (valid_bytes == 16) {
    value = *static_cast<const uint4*>(global);
  } else {
    uint8_t* const bytes = reinterpret_cast<uint8_t*>(&value);
    for (int i = 0; i < valid_bytes; ++i) bytes[i] = static_cast<const uint8_t*>(global)[i];
  }
  *static_cast<uint4*>(shared) = value;
#endif
}

// Closes the group of the copies made since the last one.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until at most kPending of this thread's groups are under way. Other threads see the data after a barrier.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
#endif
}

#else

template <Left kLeft>
void mma(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operand {
    int32_t c[4];
    uint32_t a[4], b[2];
  };
  struct Result {
    int32_t d[4];
  };
  Operand operand;
  std::memcpy(operand.c, c, sizeof c);
  std::memcpy(operand.a, a, sizeof a);
  std::memcpy(operand.b, b, sizeof b);
  const Result result = emulator::warp_operation<Result>("mma", operand, [](const Operand* in, Result* out) {
    int left[kMmaRows][kMmaInner];
    int right[kMmaColumns][kMmaInner];
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      for (int i = 0; i < 4; ++i) {
        for (int reg = 0; reg < 4; ++reg) {
          const uint8_t byte = static_cast<uint8_t>(in[lane].a[reg] >> (8 * i));
          left[a_row(lane, reg)][a_column(lane, reg) + i] =
              kLeft == Left::kSigned ? static_cast<int8_t>(byte) : int{byte};
        }
        for (int reg = 0; reg < 2; ++reg) {
          right[b_column(lane)][b_row(lane, reg) + i] = static_cast<int8_t>(in[lane].b[reg] >> (8 * i));
        }
      }
    }
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      for (int reg = 0; reg < 4; ++reg) {
        int sum = 0;
        for (int k = 0; k < kMmaInner; ++k) sum += left[c_row(lane, reg)][k] * right[c_column(lane, reg)][k];
        out[lane].d[reg] = static_cast<int32_t>(static_cast<uint32_t>(in[lane].c[reg]) + static_cast<uint32_t>(sum));
      }
    }
  });
  std::memcpy(c, result.d, sizeof c);
}

inline void load_matrices(uint32_t (&registers)[4], const void* row) {
  struct Result {
    uint32_t registers[4];
  };
  if (reinterpret_cast<size_t>(row) % 16 != 0) emulator::fail("a row of load_matrices is not aligned");
  const Result result =
      emulator::warp_operation<Result>("load_matrices", row, [](const void* const* rows, Result* out) {
        for (int lane = 0; lane < kWarpLanes; ++lane) {
          for (int m = 0; m < 4; ++m) {
            std::memcpy(&out[lane].registers[m], static_cast<const char*>(rows[8 * m + lane / 4]) + 4 * (lane % 4), 4);
          }
        }
      });
  std::memcpy(registers, result.registers, sizeof registers);
}

inline void load_matrices_transposed(uint32_t (&registers)[4], const void* row) {
  struct Result {
    uint32_t registers[4];
  };
  if (reinterpret_cast<size_t>(row) % 16 != 0) emulator::fail("a row of load_matrices_transposed is not aligned");
  const Result result =
      emulator::warp_operation<Result>("load_matrices_transposed", row, [](const void* const* rows, Result* out) {
        for (int lane = 0; lane < kWarpLanes; ++lane) {
          for (int m = 0; m < 4; ++m) {
            char* const target = reinterpret_cast<char*>(&out[lane].registers[m]);
            for (int i = 0; i < 2; ++i) {
              const void* const source = rows[8 * m + 2 * (lane % 4) + i];
              std::memcpy(target + 2 * i, static_cast<const char*>(source) + 2 * (lane / 4), 2);
            }
          }
        }
      });
  std::memcpy(registers, result.registers, sizeof registers);
}

inline void copy_async16(void* shared, const void* global, int valid_bytes = 16) {
  emulator::copy_async(shared, global, 16, static_cast<size_t>(valid_bytes));
}

inline void commit_copies() { emulator::commit_copies(); }

template <int kPending>
void wait_for_copies() {
  emulator::wait_for_copies(kPending);
}

#endif

}  // namespace ivit::cuda
