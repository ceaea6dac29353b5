// Memory for the steps of attention in a window: all rows of one head go through each step together.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/cpu/aligned.h"
#include "kernels/cpu/x86/avx512vnni/sizes.h"

namespace ivit::cpu::avx512vnni {

// Rows of a tile and of the memory before and behind it are multiples of this.
constexpr int64_t kMostRows = 12;
constexpr int64_t kMostDim = 64;

struct Steps {
  Steps(int64_t places, int64_t dim, bool two_bytes)
      : row_stride(round_up(places, kChunk)),
        rows(round_up(places, kMostRows)),
        value_groups(divide_up(places, kGroup)),
        value_registers(divide_up(dim, kLanes)) {
    const int64_t probabilities_size = rows * (two_bytes ? 2 : 1) * row_stride;
    thread_local Scratch<uint8_t> memory;
    const int64_t keys_size = round_up(dim, kGroup) * row_stride;
    const int64_t values_size = value_groups * value_registers * 64;
    uint8_t* at = memory.get(rows * kMostDim + keys_size + row_stride * 4 + values_size + rows * row_stride * 5 +
                             probabilities_size + (rows + kLanes) * 8 + 9 * 64);
    const auto take = [&at](int64_t bytes) {
      uint8_t* taken = at;
      at += round_up(bytes, 64);
      return taken;
    };
    queries = take(rows * kMostDim);
    keys = reinterpret_cast<int8_t*>(take(keys_size));
    key_starts = reinterpret_cast<int32_t*>(take(row_stride * 4));
    values = reinterpret_cast<int8_t*>(take(values_size));
    scores = take(rows * row_stride);
    exponentials = reinterpret_cast<int32_t*>(take(rows * row_stride * 4));
    probabilities = take(probabilities_size);
    sums = reinterpret_cast<int32_t*>(take(round_up(rows, kLanes) * 4));
    factors = reinterpret_cast<uint32_t*>(take(round_up(rows, kLanes) * 4));
  }

  const int64_t row_stride;  // of a row of scores
  const int64_t rows;
  const int64_t value_groups;
  const int64_t value_registers;
  uint8_t* queries;  // [places][64], + 128
  int8_t* keys;      // [chunks][head_dim / 4][registers of the chunk][16][4]
  int32_t* key_starts;
  int8_t* values;          // [places / 4][registers][16][4]
  uint8_t* scores;         // and then the biased scores
  int32_t* exponentials;   // in the order of unpacked bytes
  uint8_t* probabilities;  // of two bytes the upper ones come first
  int32_t* sums;
  uint32_t* factors;
};

}  // namespace ivit::cpu::avx512vnni
