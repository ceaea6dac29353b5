// Bytes and int16 values looked up in a table of 256 entries, four and sixteen at a time.
#pragma once

#include <cstdint>

#include "kernels/cuda/vectors.h"

namespace ivit::cuda {

// The results of the four bytes of a word.
__device__ inline uint32_t look_up4(uint32_t word, const uint8_t* results) {
  return uint32_t{results[byte_of(word, 0)]} | uint32_t{results[byte_of(word, 1)]} << 8 |
         uint32_t{results[byte_of(word, 2)]} << 16 | uint32_t{results[byte_of(word, 3)]} << 24;
}

__device__ inline uint2 look_up4(uint32_t word, const uint16_t* results) {
  return {results[byte_of(word, 0)] | uint32_t{results[byte_of(word, 1)]} << 16,
          results[byte_of(word, 2)] | uint32_t{results[byte_of(word, 3)]} << 16};
}

// The results of sixteen bytes.
__device__ inline uint4 look_up16(const uint4& x, const uint8_t* results) {
  return {look_up4(x.x, results), look_up4(x.y, results), look_up4(x.z, results), look_up4(x.w, results)};
}

// The results of sixteen bytes, stored at an address that is a multiple of 16.
__device__ inline void look_up_to(const uint4& x, const uint8_t* results, uint8_t* y) {
  *reinterpret_cast<uint4*>(y) = look_up16(x, results);
}

__device__ inline void look_up_to(const uint4& x, const uint16_t* results, uint16_t* y) {
  const uint2 a = look_up4(x.x, results), b = look_up4(x.y, results);
  const uint2 c = look_up4(x.z, results), d = look_up4(x.w, results);
  reinterpret_cast<uint4*>(y)[0] = {a.x, a.y, b.x, b.y};
  reinterpret_cast<uint4*>(y)[1] = {c.x, c.y, d.x, d.y};
}

}  // namespace ivit::cuda
