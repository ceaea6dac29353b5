// Tiles of queries, keys and values in shared memory: copied from device memory, and read as fragments.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention_problem.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/tensor_core.h"

namespace ivit::cuda::attention {

// Copies 16 bytes from a source that copy_async16 does not take; of these the last 16 - valid_bytes become zero.
__device__ inline void gather_chunk(int8_t* target, const int8_t* source, int valid_bytes, bool words) {
  if (words) {
    uint32_t chunk[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      chunk[i] = 4 * i < valid_bytes ? *reinterpret_cast<const uint32_t*>(source + 4 * i) : 0;
    }
    *reinterpret_cast<uint4*>(target) = {chunk[0], chunk[1], chunk[2], chunk[3]};
    return;
  }
#pragma unroll 1
  for (int i = 0; i < 16; ++i) target[i] = i < valid_bytes ? source[i] : int8_t{0};
}

// Starts copying `rows` rows of a part, from place `first` of the item on; what lies outside of the item is zero.
// item.row(place, part) is where a row begins.
template <int kDim, class Item>
__device__ __forceinline__ void load_tile(const Problem& problem, const Item& item, Part part, int first, int rows,
                                          int8_t* tile) {
  constexpr int kChunks = kDim / 16;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kChunks; i += static_cast<int>(blockDim.x)) {
    const int row = i / kChunks;
    const int chunk = i % kChunks;
    const bool inside = first + row < problem.keys && 16 * chunk < problem.head_dim;
    const int left = problem.head_dim - 16 * chunk;
    const int valid_bytes = !inside ? 0 : left < 16 ? left : 16;
    const int8_t* const source = inside ? item.row(first + row, part) + 16 * chunk : problem.qkv;
    int8_t* const target = tile + tile_offset<kDim>(row, chunk);
    if (problem.alignment == 16) {
      copy_async16(target, source, valid_bytes);
    } else {
      gather_chunk(target, source, valid_bytes, problem.alignment == 4);
    }
  }
}

// The fragments of a warp's queries, which stand in the tile from row 16 * warp on.
template <int kDim>
__device__ __forceinline__ void load_queries(const int8_t* tile, uint32_t (&queries)[kDim / kMmaInner][4]) {
  const int lane = lane_index();
  const int8_t* const first = tile + warp_index() * kWarpQueries * kDim;
#pragma unroll
  for (int k = 0; k < kDim / kMmaInner; ++k) {
    load_matrices(queries[k], first + tile_offset<kDim>(lane % 16, 2 * k + lane / 16));
  }
}

// The fragments of 16 keys from row `first` on for the bytes [32 * k, 32 * k + 32): those of keys 0..7 and of 8..15.
template <int kDim>
__device__ __forceinline__ void load_keys(const int8_t* tile, int first, int k, uint32_t (&keys)[2][2]) {
  const int lane = lane_index();
  uint32_t matrices[4];
  load_matrices(matrices, tile + first * kDim + tile_offset<kDim>(lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
#pragma unroll
  for (int i = 0; i < 4; ++i) keys[i / 2][i % 2] = matrices[i];
}

// The fragments of the values of 32 keys from row `first` on for 16 channels: those of the even and of the odd ones.
template <int kDim>
__device__ __forceinline__ void load_values(const int8_t* tile, int first, int chunk, uint32_t (&values)[2][2]) {
  uint32_t matrices[4];
  load_matrices_transposed(matrices, tile + first * kDim + tile_offset<kDim>(lane_index(), chunk));
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    values[0][half] = __byte_perm(matrices[2 * half], matrices[2 * half + 1], 0x6420);
    values[1][half] = __byte_perm(matrices[2 * half], matrices[2 * half + 1], 0x7531);
  }
}

}  // namespace ivit::cuda::attention
