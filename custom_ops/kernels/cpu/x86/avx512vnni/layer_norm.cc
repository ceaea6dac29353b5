// Layer normalisation with AVX-512, eight rows at a time: their square roots take ten dependent divisions each, which
// overlap. All of the arithmetic after them is in 64-bit lanes, as in the definition; only the sum of a row is not.
#include "kernels/common/layer_norm.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/generic/kernels.h"
#include "kernels/cpu/x86/avx512vnni/kernels.h"

#include "kernels/cpu/x86/avx512vnni/target.h"

namespace ivit::cpu::avx512vnni {
namespace {

constexpr int64_t kRows = 8;
constexpr int64_t kLanes = 8;
// Sums of this many channels fit 32 bits.
constexpr int64_t kMaxChannels = 65535;

// The mean of a row and the sum of the squares of its values less the mean.
class Moments {
 public:
  Moments(const int16_t* x, int64_t channels) {
    int64_t c = 0;
    for (; c + 32 <= channels; c += 32) add(_mm512_loadu_si512(x + c));
    if (c < channels) add(_mm512_maskz_loadu_epi16((uint32_t{1} << (channels - c)) - 1, x + c));
    const int64_t sum = _mm512_reduce_add_epi32(sums_);
    mean = round_half_even_divide(sum, channels);
    // The sum of (x - mean)^2.
    squares = _mm512_reduce_add_epi64(_mm512_add_epi64(even_squares_, odd_squares_)) - 2 * mean * sum +
              channels * mean * mean;
  }

  int64_t mean;
  int64_t squares;

 private:
  void add(__m512i values) {
    sums_ = _mm512_dpwssd_epi32(sums_, values, _mm512_set1_epi16(1));
    // The sum of two squares is at most 2^31: unsigned.
    const __m512i pairs = _mm512_madd_epi16(values, values);
    even_squares_ = _mm512_add_epi64(even_squares_, _mm512_and_si512(pairs, _mm512_set1_epi64(0xffffffff)));
    odd_squares_ = _mm512_add_epi64(odd_squares_, _mm512_srli_epi64(pairs, 32));
  }

  __m512i sums_ = _mm512_setzero_si512();
  __m512i even_squares_ = _mm512_setzero_si512();
  __m512i odd_squares_ = _mm512_setzero_si512();
};

// newton_sqrt of several numbers. A step that changes no root ends it: later ones would not either.
void newton_sqrt_all(const int64_t* radicands, int64_t count, int64_t* roots) {
  // The first division, by 2^16, is a shift.
  for (int64_t i = 0; i < count; ++i) roots[i] = ((int64_t{1} << 16) + (radicands[i] >> 16)) / 2;
  for (int step = 1; step < 10; ++step) {
    int64_t changes = 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto root = static_cast<uint64_t>(roots[i]);
      const auto next = static_cast<int64_t>((root + static_cast<uint64_t>(radicands[i]) / root) / 2);
      changes |= next ^ roots[i];
      roots[i] = next;
    }
    if (changes == 0) break;
  }
}

// The lanes of the mask, saturated to bytes or to int16.
inline void store(int8_t* y, __mmask8 mask, __m512i values) { _mm512_mask_cvtsepi64_storeu_epi8(y, mask, values); }

inline void store(int16_t* y, __mmask8 mask, __m512i values) { _mm512_mask_cvtsepi64_storeu_epi16(y, mask, values); }

inline void store(int8_t* y, __m512i values) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(y), _mm512_cvtsepi64_epi8(values));
}

inline void store(int16_t* y, __m512i values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm512_cvtsepi64_epi16(values));
}

// N rows, `channels` apart, by their means and factors.
template <int N, class Out>
class Rows {
 public:
  Rows(const int16_t* x, int64_t channels, const Affine& affine, const int64_t* means, const int64_t* factors, Out* y)
      : x_(x), channels_(channels), affine_(affine), y_(y) {
    for (int row = 0; row < N; ++row) {
      means_[row] = _mm512_set1_epi64(means[row]);
      factors_[row] = _mm512_set1_epi64(factors[row]);
    }
  }

  void normalize() const {
    int64_t c = 0;
    for (; c + kLanes <= channels_; c += kLanes) normalize<false>(c, 0xff);
    if (c < channels_) normalize<true>(c, static_cast<__mmask8>((1 << (channels_ - c)) - 1));
  }

 private:
  // Channels [c, c + 8), or those of the mask.
  template <bool kMasked>
  void normalize(int64_t c, __mmask8 mask) const {
    const __m512i multiplier = _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(mask, affine_.multiplier + c));
    const __m512i offset = _mm512_maskz_loadu_epi64(mask, affine_.offset + c);
    const __m512i shift = _mm512_cvtepi8_epi64(_mm_maskz_loadu_epi8(mask, affine_.shift + c));
    for (int row = 0; row < N; ++row) {
      const int16_t* x = x_ + row * channels_ + c;
      const __m128i value =
          kMasked ? _mm_maskz_loadu_epi16(mask, x) : _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
      const __m512i centered = _mm512_sub_epi64(_mm512_cvtepi16_epi64(value), means_[row]);
      // Newton's root is at least the true one and at least 64: |normalized| <= 2^30 fits the 32 bits multiplied.
      const __m512i normalized = _mm512_srai_epi64(_mm512_mul_epi32(centered, factors_[row]), 1);
      const __m512i affine_sum = _mm512_add_epi64(_mm512_mul_epi32(normalized, multiplier), offset);
      const __m512i values = _mm512_srav_epi64(affine_sum, shift);
      Out* y = y_ + row * channels_ + c;
      if constexpr (kMasked) {
        store(y, mask, values);
      } else {
        store(y, values);
      }
    }
  }

  const int16_t* x_;
  int64_t channels_;
  Affine affine_;
  Out* y_;
  __m512i means_[N];
  __m512i factors_[N];
};

template <int N, class Out>
void normalize(const int16_t* x, int64_t channels, const Affine& affine, const int64_t* means, const int64_t* factors,
               Out* y) {
  const Rows<N, Out> rows(x, channels, affine, means, factors, y);
  rows.normalize();
}

template <class Out>
void normalize_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, Out* y) {
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t count = std::min(kRows, rows - first);
    int64_t means[kRows];
    int64_t squares[kRows];
    int64_t roots[kRows];
    int64_t factors[kRows];
    for (int64_t row = 0; row < count; ++row) {
      const Moments moments(x + (first + row) * channels, channels);
      means[row] = moments.mean;
      squares[row] = moments.squares;
    }
    newton_sqrt_all(squares, count, roots);
    for (int64_t row = 0; row < count; ++row) factors[row] = (int64_t{1} << 31) / roots[row];
    int64_t row = 0;
    for (; row + 4 <= count; row += 4) {
      normalize<4>(x + (first + row) * channels, channels, affine, means + row, factors + row,
                   y + (first + row) * channels);
    }
    for (; row < count; ++row) {
      normalize<1>(x + (first + row) * channels, channels, affine, means + row, factors + row,
                   y + (first + row) * channels);
    }
  }
}

}  // namespace

void layer_norm_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int8_t* y) {
  if (channels > kMaxChannels) return generic::layer_norm_rows(x, rows, channels, affine, y);
  normalize_rows(x, rows, channels, affine, y);
}

void layer_norm16_rows(const int16_t* x, int64_t rows, int64_t channels, const Affine& affine, int16_t* y) {
  if (channels > kMaxChannels) return generic::layer_norm16_rows(x, rows, channels, affine, y);
  normalize_rows(x, rows, channels, affine, y);
}

}  // namespace ivit::cpu::avx512vnni

#include "kernels/cpu/target_end.h"
