// IntLayerNorm with AVX2: one pass for both sums, Newton steps of four rows at a time, one pass for the results.
#include "kernels/common/layer_norm.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/aligned.h"
#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx2/kernels.h"
#include "kernels/cpu/x86/avx2/vector.h"

#include "kernels/cpu/x86/avx2/target.h"

namespace ivit::cpu::avx2 {
namespace {

constexpr int64_t kRows = 4;
constexpr int64_t kLanes = 16;
// Up to here the sums of a row fit 32-bit lanes, and its sum of squares is below 2^52.
constexpr int64_t kMaxChannels = 1 << 18;

// The affine map of 64-bit values for shifts of at least 32: (z * m + b) >> e is the upper half of z * m + b, shifted
// by the rest. Offsets of even channels and of odd ones stand apart, four each.
class AffineLanes {
 public:
  AffineLanes(const Affine& affine, int64_t channels)
      : multiplier_(round_up(channels, kLanes)),
        shift_(round_up(channels, kLanes)),
        offset_(round_up(channels, kLanes)) {
    for (int64_t c = 0; c < round_up(channels, kLanes); ++c) {
      const bool exists = c < channels;
      multiplier_[c] = exists ? affine.multiplier[c] : 0;
      shift_[c] = exists ? affine.shift[c] - 32 : 0;
      offset_[c / 8 * 8 + c % 2 * 4 + c % 8 / 2] = exists ? affine.offset[c] : 0;
    }
  }

  // Channels c .. c + 7 of ((x - mean) * factor) >> 1, mapped. The product may be 2^31, just beyond int32, so it stays
  // a 64-bit one; halved it fits.
  __m256i operator()(__m256i centered, __m256i factor, int64_t c) const {
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epi32(centered, factor), 1);
    const __m256i odd = _mm256_srli_epi64(_mm256_mul_epi32(_mm256_srli_epi64(centered, 32), factor), 1);
    const __m256i even_sum = _mm256_add_epi64(_mm256_mul_epi32(even, load(&multiplier_[c])), load(&offset_[c]));
    const __m256i odd_sum = _mm256_add_epi64(_mm256_mul_epi32(odd, load(&multiplier_[c + 1])), load(&offset_[c + 4]));
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even_sum, 32), odd_sum, 0xAA);
    return _mm256_srav_epi32(high, load(&shift_[c]));
  }

 private:
  AlignedArray<int32_t> multiplier_;
  AlignedArray<int32_t> shift_;
  AlignedArray<int64_t> offset_;
};

struct Moments {
  int32_t mean;
  int64_t squares;  // of the differences from the mean
};

// Sixteen channels from c on, zeros where there are none.
__m256i load_channels(const int16_t* x, int64_t c, int64_t channels) {
  if (c + kLanes <= channels) return load(x + c);
  int16_t some[kLanes] = {};
  std::memcpy(some, x + c, static_cast<size_t>(channels - c) * sizeof(int16_t));
  return load(some);
}

Moments moments(const int16_t* x, int64_t channels) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF);
  __m256i sums = _mm256_setzero_si256(), even = sums, odd = sums;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const __m256i values = load_channels(x, c, channels);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(values, ones));
    // At most 2^31: as an unsigned number a sum of two squares fits.
    const __m256i squares = _mm256_madd_epi16(values, values);
    even = _mm256_add_epi64(even, _mm256_and_si256(squares, low_half));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(squares, 32));
  }
  const int64_t sum = add_lanes64(_mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(sums)),
                                                   _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sums, 1))));
  const int64_t mean = round_half_even_divide(sum, channels);
  const int64_t squares = add_lanes64(_mm256_add_epi64(even, odd)) - 2 * mean * sum + channels * mean * mean;
  return {static_cast<int32_t>(mean), squares};
}

// 2^31 / newton_sqrt(radicand) of four radicands below 2^52. A quotient of such integers, rounded to double, reaches
// the next integer only if it is one: floor gives the integer quotient.
__m256d factors(__m256d radicand) {
  __m256d root = _mm256_set1_pd(65536);
  for (int step = 0; step < 10; ++step) {
    const __m256d quotient = _mm256_floor_pd(_mm256_div_pd(radicand, root));
    root = _mm256_floor_pd(_mm256_mul_pd(_mm256_add_pd(root, quotient), _mm256_set1_pd(0.5)));
  }
  return _mm256_floor_pd(_mm256_div_pd(_mm256_set1_pd(2147483648.0), root));
}

void normalize(const int16_t* x, int64_t channels, int32_t mean, int32_t factor, const AffineLanes& affine, int8_t* y) {
  const __m256i means = _mm256_set1_epi32(mean);
  const __m256i factors = _mm256_set1_epi32(factor);
  for (int64_t c = 0; c < channels; c += kLanes) {
    const __m256i values = load_channels(x, c, channels);
    const __m256i low = _mm256_sub_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(values)), means);
    const __m256i high = _mm256_sub_epi32(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(values, 1)), means);
    const __m256i interleaved = _mm256_packs_epi32(affine(low, factors, c), affine(high, factors, c + 8));
    store16(y + c, pack_bytes(_mm256_permute4x64_epi64(interleaved, 0xD8)), channels - c);
  }
}

}  // namespace

void layer_norm_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y) {
  const bool wide = std::all_of(affine.shift, affine.shift + channels, [](int8_t shift) { return shift >= 32; });
  if (!wide || channels == 0 || channels > kMaxChannels) {
    generic::layer_norm_rows(x, rows, channels, affine, y);
    return;
  }
  const AffineLanes lanes(affine, channels);
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    int32_t means[kRows] = {};
    double radicands[kRows] = {};
    for (int64_t r = 0; r < count; ++r) {
      const Moments found = moments(x + (row + r) * channels, channels);
      means[r] = found.mean;
      radicands[r] = static_cast<double>(found.squares);
    }
    int32_t rounded[kRows];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rounded), _mm256_cvttpd_epi32(factors(_mm256_loadu_pd(radicands))));
    for (int64_t r = 0; r < count; ++r) {
      normalize(x + (row + r) * channels, channels, means[r], rounded[r], lanes, y + (row + r) * channels);
    }
  }
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
