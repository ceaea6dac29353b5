// What the 256-bit matrix products do with a finished tile of accumulators: bias, requantisation, residual, position.
#include "kernels/cpu/x86/avx2/matmul_epilogue.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/x86/avx2/target.h"
#include "kernels/cpu/x86/avx2/vector.h"

namespace ivit::cpu::avx2 {
namespace {

// Requantisation of the 16 columns of a panel.
struct Panel {
  Panel(const PackedLinear& linear, int64_t panel)
      : bias(linear.bias.get() + panel * kTileColumns), scales(linear, panel * kTileColumns) {}

  Pair requantize(const int32_t* sums) const {
    return {scales(_mm256_add_epi32(load(sums), load(bias)), 0),
            scales(_mm256_add_epi32(load(sums + 8), load(bias + 8)), 8)};
  }

  const int32_t* bias;
  ChannelScales scales;
};

inline __m256i clamp(__m256i values, int32_t low, int32_t high) {
  return _mm256_min_epi32(_mm256_max_epi32(values, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
}

// Every kind stores one row of 16 outputs; `input` is what it adds, in natural order.
struct ToInt8 {
  using Output = int8_t;
  using Input = int8_t;
  explicit ToInt8(const Epilogue&) {}
  static const Input* input(const Epilogue&) { return nullptr; }

  void operator()(const Panel& panel, const int32_t* sums, const Input*, Output* y) const {
    const __m256i values = pack(panel.requantize(sums));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), pack_bytes(values));
  }
};

struct ToInt16 {
  using Output = int16_t;
  using Input = int8_t;
  explicit ToInt16(const Epilogue&) {}
  static const Input* input(const Epilogue&) { return nullptr; }

  void operator()(const Panel& panel, const int32_t* sums, const Input*, Output* y) const {
    store(y, pack(panel.requantize(sums)));
  }
};

// The branch as int16, scaled: still in the order of the panel.
inline Pair scaled_branch(const Panel& panel, const int32_t* sums, const UniformScale& scale) {
  const Pair branch = panel.requantize(sums);
  return {scale(clamp(branch.low, INT16_MIN, INT16_MAX)), scale(clamp(branch.high, INT16_MIN, INT16_MAX))};
}

struct AddResidual {
  using Output = int16_t;
  using Input = int16_t;
  explicit AddResidual(const Epilogue& epilogue)
      : branch_scale(epilogue.branch), residual_scale(epilogue.residual_scale) {}
  static const Input* input(const Epilogue& epilogue) { return epilogue.residual; }

  void operator()(const Panel& panel, const int32_t* sums, const Input* residual, Output* y) const {
    const Pair branch = scaled_branch(panel, sums, branch_scale);
    const __m256i values = load(residual);
    // Unpacking inside 128-bit lanes gives the order of the panel.
    const __m256i low = _mm256_srai_epi32(_mm256_unpacklo_epi16(values, values), 16);
    const __m256i high = _mm256_srai_epi32(_mm256_unpackhi_epi16(values, values), 16);
    store(y, pack(add(branch, {residual_scale(low), residual_scale(high)})));
  }

  UniformScale branch_scale;
  UniformScale residual_scale;
};

struct AddPosition {
  using Output = int16_t;
  using Input = int32_t;
  explicit AddPosition(const Epilogue& epilogue) : branch_scale(epilogue.branch) {}
  static const Input* input(const Epilogue& epilogue) { return epilogue.position; }

  void operator()(const Panel& panel, const int32_t* sums, const Input* position, Output* y) const {
    const Pair branch = scaled_branch(panel, sums, branch_scale);
    // The branch is below 2^28: with the position bounded far beyond int16, the sum does not wrap.
    const __m256i first = clamp(load(position), -(1 << 30), 1 << 30);
    const __m256i second = clamp(load(position + 8), -(1 << 30), 1 << 30);
    store(y, pack(add(branch, {_mm256_permute2x128_si256(first, second, 0x20),
                               _mm256_permute2x128_si256(first, second, 0x31)})));
  }

  UniformScale branch_scale;
};

template <class Kind>
void store_tile(const int32_t* sums, int64_t row, int64_t rows, int64_t panel_index, const PackedLinear& linear,
                const Epilogue& epilogue) {
  using Input = typename Kind::Input;
  using Output = typename Kind::Output;
  const Panel panel(linear, panel_index);
  const Kind kind(epilogue);
  const Input* input = Kind::input(epilogue);
  const int64_t column = panel_index * kTileColumns;
  const int64_t count = std::min(kTileColumns, linear.columns - column);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = (row + r) * epilogue.stride + column;
    Output* y = static_cast<Output*>(epilogue.y) + at;
    if (count == kTileColumns) {
      kind(panel, sums + r * kTileColumns, input == nullptr ? nullptr : input + at, y);
      continue;
    }
    // The last panel is not full: neither may its neighbours be read nor overwritten.
    Input some_input[kTileColumns] = {};
    Output some_output[kTileColumns];
    if (input != nullptr) std::memcpy(some_input, input + at, static_cast<size_t>(count) * sizeof(Input));
    kind(panel, sums + r * kTileColumns, some_input, some_output);
    std::memcpy(y, some_output, static_cast<size_t>(count) * sizeof(Output));
  }
}

void store_tile_scalar(const int32_t* sums, int64_t row, int64_t rows, int64_t panel, const PackedLinear& linear,
                       const Epilogue& epilogue) {
  const int64_t column = panel * kTileColumns;
  const int64_t last = std::min(linear.columns, column + kTileColumns);
  for (int64_t r = 0; r < rows; ++r) store_scalar(sums + r * kTileColumns, row + r, column, last, linear, epilogue);
}

}  // namespace

StoreTile choose_store(const PackedLinear& linear, const Epilogue& epilogue) {
  if (!linear.narrow) return store_tile_scalar;
  switch (epilogue.kind) {
    case Epilogue::Kind::kInt8:
      return store_tile<ToInt8>;
    case Epilogue::Kind::kInt16:
      return store_tile<ToInt16>;
    case Epilogue::Kind::kAdd16:
      return epilogue.branch.fits_int16() && epilogue.residual_scale.fits_int16() ? store_tile<AddResidual>
                                                                                  : store_tile_scalar;
    case Epilogue::Kind::kPlace16:
      return epilogue.branch.fits_int16() ? store_tile<AddPosition> : store_tile_scalar;
    case Epilogue::Kind::kInt32:
      break;
  }
  return store_tile_scalar;
}

}  // namespace ivit::cpu::avx2

#include "kernels/cpu/target_end.h"
