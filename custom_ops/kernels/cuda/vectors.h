// Reading, packing and reducing small vectors in registers, for kernels that work row by row.
#pragma once

#include <cstdint>

#include "kernels/cuda/tensor_core.h"

namespace ivit::cuda {

// Whether a pointer is a multiple of `bytes`.
inline bool is_aligned(const void* pointer, size_t bytes) { return reinterpret_cast<size_t>(pointer) % bytes == 0; }

// The two int16 values of a word.
constexpr int32_t low_half(uint32_t word) { return static_cast<int16_t>(word & 0xffff); }
constexpr int32_t high_half(uint32_t word) { return static_cast<int32_t>(word) >> 16; }

// Byte i of a word, 0 the lowest.
constexpr uint32_t byte_of(uint32_t word, int i) { return word >> (8 * i) & 255; }

// a * b + c in one instruction. Compilers use it for themselves only where they see both factors being widened.
__device__ inline int64_t multiply_add(int32_t a, int32_t b, int64_t c) {
#ifdef __CUDACC__
  int64_t sum;
  asm("mad.wide.s32 %0, %1, %2, %3;\n" : "=l"(sum) : "r"(a), "r"(b), "l"(c));
  return sum;
#else
  return int64_t{a} * b + c;
#endif
}

// Four int32 values saturated to int8, the first in the lowest byte.
__device__ inline uint32_t pack_int8(int32_t a, int32_t b, int32_t c, int32_t d) {
#ifdef __CUDACC__
  uint32_t upper, packed;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;\n" : "=r"(upper) : "r"(d), "r"(c));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;\n" : "=r"(packed) : "r"(b), "r"(a), "r"(upper));
  return packed;
#else
  const int32_t values[4] = {a, b, c, d};
  uint32_t packed = 0;
  for (int i = 0; i < 4; ++i) {
    const int32_t value = values[i] < -128 ? -128 : values[i] > 127 ? 127 : values[i];
    packed |= static_cast<uint32_t>(value & 255) << (8 * i);
  }
  return packed;
#endif
}

// Two int32 values saturated to int16, the first in the lower half.
__device__ inline uint32_t pack_int16(int32_t a, int32_t b) {
#ifdef __CUDACC__
  uint32_t packed;
  asm("cvt.pack.sat.s16.s32 %0, %1, %2;\n" : "=r"(packed) : "r"(b), "r"(a));
  return packed;
#else
  const auto clamped = [](int32_t x) { return static_cast<uint32_t>(x < -32768 ? -32768 : x > 32767 ? 32767 : x); };
  return (clamped(a) & 0xffff) | clamped(b) << 16;
#endif
}

struct Add {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a + b;
  }
};

struct Greater {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// The values of all lanes of a warp combined, in every lane.
template <class Combine, class T>
__device__ inline T reduce_lanes(T value, const Combine& combine) {
#pragma unroll
  for (int mask = kWarpLanes / 2; mask > 0; mask /= 2)
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, mask));
  return value;
}

// The sums over all lanes of kCount values (a power of two, at most 32), every lane with one of them: lane i has sum
// i / (32 / kCount). This takes fewer shuffles than the sums one by one.
template <int kCount, class T>
__device__ inline T reduce_together(T (&values)[kCount]) {
  int mask = kWarpLanes / 2;
#pragma unroll
  for (int half = kCount / 2; half > 0; half /= 2, mask /= 2) {
    const bool upper = (lane_index() & mask) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const T given = upper ? values[i] : values[i + half];
      const T kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(0xffffffffu, given, mask);
    }
  }
#pragma unroll
  for (; mask > 0; mask /= 2) values[0] += __shfl_xor_sync(0xffffffffu, values[0], mask);
  return values[0];
}

// The values of all threads of a block combined, in every thread. `shared` has a place for each warp and is not in use.
template <class Combine, class T>
__device__ inline T reduce_block(T value, const Combine& combine, T* shared) {
  value = reduce_lanes(value, combine);
  if (lane_index() == 0) shared[warp_index()] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < static_cast<int>(blockDim.x) / kWarpLanes; ++warp) value = combine(value, shared[warp]);
  return value;
}

}  // namespace ivit::cuda
