// How queries, keys and values of a head become the operands of products: rows of unsigned bytes times columns packed
// [inner / 4][columns][4]. `Tokens` are those of attention_tokens.h.
//
// Keys come in chunks of 64. In whole ones they stand in the order that packing four registers to bytes makes natural;
// in the last one, if fewer registers do for it, in natural order.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/cpu/x86/avx512vnni/bytes.h"
#include "kernels/cpu/x86/avx512vnni/sizes.h"
#include "kernels/cpu/x86/avx512vnni/vector.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

// A query + 128, in whole registers, zeros + 128 behind it.
inline void load_query(const int8_t* query, int64_t dim, uint8_t* target) {
  for (int64_t d = 0; d < dim; d += 64) {
    const __m512i bytes = _mm512_maskz_loadu_epi8(first_bytes(dim - d), query + d);
    _mm512_store_si512(target + d, _mm512_xor_si512(bytes, _mm512_set1_epi8(INT8_MIN)));
  }
}

// 16 keys x 64 bytes, a transposition of 16 x 16 groups of four bytes: register g of the result has group g of every
// key.
inline void transpose_keys(__m512i (&a)[16], __m512i (&b)[16]) {
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  // a[4 * i + j] has groups j, j + 4, j + 8, j + 12 of keys 4 * i .. 4 * i + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i even_01 = _mm512_shuffle_i32x4(a[j], a[j + 4], 0x88);
    const __m512i odd_01 = _mm512_shuffle_i32x4(a[j], a[j + 4], 0xdd);
    const __m512i even_23 = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0x88);
    const __m512i odd_23 = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0xdd);
    b[j] = _mm512_shuffle_i32x4(even_01, even_23, 0x88);
    b[j + 4] = _mm512_shuffle_i32x4(odd_01, odd_23, 0x88);
    b[j + 8] = _mm512_shuffle_i32x4(even_01, even_23, 0xdd);
    b[j + 12] = _mm512_shuffle_i32x4(odd_01, odd_23, 0xdd);
  }
}

// Brings 4 values x 16 channels into groups of four values, channel by channel.
class InterleaveValues {
 public:
  InterleaveValues() {
    alignas(64) uint8_t order[64];
    for (int i = 0; i < 64; ++i) order[i] = static_cast<uint8_t>(i % 4 * 16 + i / 4);
    order_ = load(order);
  }
  __m512i operator()(__m128i value0, __m128i value1, __m128i value2, __m128i value3) const {
    __m512i rows = _mm512_castsi128_si512(value0);
    rows = _mm512_inserti32x4(rows, value1, 1);
    rows = _mm512_inserti32x4(rows, value2, 2);
    rows = _mm512_inserti32x4(rows, value3, 3);
    return _mm512_permutexvar_epi8(order_, rows);
  }

 private:
  __m512i order_;
};

// Columns of `groups` fours, `stride` bytes from one four to the next.
struct Columns {
  const int8_t* packed;
  int64_t stride;
  int64_t groups;
};

// Sixteen keys, four from `first` on and from each `step` later, zeros past the end; groups are `packed_stride` bytes
// apart. The accumulators of their scores start at -128 * (sum of the key), because queries have 128 added; those past
// the end at the least number.
template <class Tokens>
void pack_keys(const Tokens& tokens, int64_t first, int64_t step, int8_t* packed, int64_t packed_stride,
               int32_t* starts) {
  __mmask16 exist = 0;
  int64_t key[16];
  for (int64_t i = 0; i < 16; ++i) {
    key[i] = first + i / 4 * step + i % 4;
    exist |= static_cast<__mmask16>((key[i] < tokens.count) << i);
  }
  __m512i sum = _mm512_setzero_si512();
  for (int64_t d = 0; d < tokens.head_dim; d += 64) {
    const __mmask64 mask = first_bytes(tokens.head_dim - d);
    __m512i a[16];
    __m512i b[16];
    for (int64_t i = 0; i < 16; ++i) {
      a[i] = (exist >> i & 1) != 0 ? _mm512_maskz_loadu_epi8(mask, tokens.key(key[i]) + d) : _mm512_setzero_si512();
    }
    transpose_keys(a, b);
    const int64_t groups = std::min<int64_t>(16, divide_up(tokens.head_dim - d, kGroup));
    for (int64_t group = 0; group < groups; ++group) {
      _mm512_store_si512(packed, b[group]);
      packed += packed_stride;
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(INT8_MIN), b[group]);
    }
  }
  _mm512_store_si512(starts, _mm512_mask_sub_epi32(_mm512_set1_epi32(INT32_MIN), exist, _mm512_setzero_si512(), sum));
}

// The keys of each chunk stand together, [groups][registers], so that its tile reads from front to back.
class Keys {
 public:
  Keys(int64_t tokens, int64_t dim) : tokens_(tokens), groups_(divide_up(dim, kGroup)) {}

  // Keys with those that are zeros, and the bytes of all.
  int64_t padded() const { return round_up(tokens_, kLanes); }
  int64_t bytes() const { return padded() * groups_ * kGroup; }

  template <class Tokens>
  void pack(const Tokens& tokens, int8_t* packed, int32_t* starts) {
    packed_ = packed;
    starts_ = starts;
    for_chunks([&](int64_t first, int64_t registers, const Columns& columns, const int32_t*) {
      const bool whole = registers == kChunk / kLanes;
      for (int64_t i = 0; i < registers; ++i) {
        pack_keys(tokens, first + i * (whole ? 4 : kLanes), whole ? kLanes : 4,
                  packed + (columns.packed - packed) + i * kLanes * kGroup, columns.stride,
                  starts + first + i * kLanes);
      }
    });
  }

  // body(first key, registers, columns, what their accumulators start at)
  template <class Body>
  void for_chunks(const Body& body) const {
    const int8_t* packed = packed_;
    for (int64_t first = 0; first < tokens_; first += kChunk) {
      const int64_t registers = std::min(kChunk / kLanes, divide_up(tokens_ - first, kLanes));
      const Columns columns{packed, registers * kLanes * kGroup, groups_};
      body(first, registers, columns, starts_ + first);
      packed += columns.groups * columns.stride;
    }
  }

 private:
  const int64_t tokens_;
  const int64_t groups_;
  const int8_t* packed_ = nullptr;
  const int32_t* starts_ = nullptr;
};

// All values, [tokens / 4][head_dim / 16][16][4], zeros past the end.
template <class Tokens>
void pack_values(const Tokens& tokens, int8_t* packed) {
  const InterleaveValues interleave;
  for (int64_t token = 0; token < tokens.count; token += kGroup) {
    for (int64_t d = 0; d < tokens.head_dim; d += kLanes) {
      const auto mask = static_cast<__mmask16>(first_bytes(std::min(kLanes, tokens.head_dim - d)));
      const auto row = [&](int64_t i) {
        if (token + i >= tokens.count) return _mm_setzero_si128();
        return _mm_maskz_loadu_epi8(mask, tokens.value(token + i) + d);
      };
      _mm512_store_si512(packed, interleave(row(0), row(1), row(2), row(3)));
      packed += kLanes * kGroup;
    }
  }
}

}  // namespace
}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
