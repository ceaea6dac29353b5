// How the operands of the matrix product come to shared memory, step by step.
#pragma once

#include <cstdint>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_layout.h"
#include "kernels/cuda/tensor_core.h"

namespace ivit::cuda {

// The left operand. With `aligned`, rows begin at multiples of 16 bytes.
struct Rows {
  const int8_t* x;
  int64_t stride;
  int64_t count;
  bool aligned;
};

// Sixteen bytes of a row of which `valid` are there, at any address; zeros for the others.
__device__ inline uint4 load_bytes(const int8_t* bytes, int64_t valid) {
  uint32_t words[4] = {};
#pragma unroll
  for (int i = 0; i < kChunkBytes; ++i) {
    if (i < valid) words[i / 4] |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * (i % 4));
  }
  return {words[0], words[1], words[2], words[3]};
}

// Brings slices of one tile into shared memory. A thread copies the same chunk of some rows at every step.
template <class Config>
class SliceLoader {
 public:
  __device__ SliceLoader(const Rows& rows, const Linear& linear, int64_t first_row, int64_t first_column)
      : inner_(linear.inner), aligned_(rows.aligned) {
    const int row = static_cast<int>(threadIdx.x) / kStepChunks;
    const int chunk = static_cast<int>(threadIdx.x) % kStepChunks;
    k_ = chunk * kChunkBytes;
    x_place_ = x_place(row, chunk);
    weight_place_ = Config::kXBytes + weight_place(row, chunk);
#pragma unroll
    for (int i = 0; i < Config::kXCopies; ++i) {
      // Rows behind the last are never stored: any row will do.
      const int64_t wanted = first_row + row + i * Config::kCopyRows;
      x_[i] = rows.x + (wanted < rows.count ? wanted : rows.count - 1) * rows.stride + k_;
    }
    weight_ = linear.weight + (first_column + row) * linear.padded_inner + k_;
    weight_stride_ = Config::kCopyRows * linear.padded_inner;
  }

  // Starts the copy of the next slice.
  __device__ __forceinline__ void load_next(int8_t* stage) {
    if (aligned_) {
      // What stands between inner and a multiple of 16 meets zeros of the weight.
      const int valid_bytes = k_ < inner_ ? kChunkBytes : 0;
#pragma unroll
      for (int i = 0; i < Config::kXCopies; ++i) {
        copy_async16(stage + x_copy_step(x_place_, i, Config::kCopyRows), x_[i], valid_bytes);
      }
    } else {
#pragma unroll
      for (int i = 0; i < Config::kXCopies; ++i) {
        *reinterpret_cast<uint4*>(stage + x_copy_step(x_place_, i, Config::kCopyRows)) = load_bytes(x_[i], inner_ - k_);
      }
    }
    const int8_t* weight = weight_;
#pragma unroll
    for (int i = 0; i < Config::kWeightCopies; ++i) {
      copy_async16(stage + weight_copy_step(weight_place_, i, Config::kCopyRows), weight);
      weight += weight_stride_;
    }
#pragma unroll
    for (int i = 0; i < Config::kXCopies; ++i) x_[i] += kStepBytes;
    weight_ += kStepBytes;
    k_ += kStepBytes;
  }

 private:
  const int8_t* x_[Config::kXCopies];
  const int8_t* weight_;
  int64_t weight_stride_;
  int64_t inner_;
  int64_t k_;
  int x_place_;
  int weight_place_;
  bool aligned_;
};

}  // namespace ivit::cuda
