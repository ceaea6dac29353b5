// From accumulators to results: requantisation and what follows it, on eight consecutive columns of a row at a time.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {

// Columns that one thread finishes together.
constexpr int kEpilogueColumns = 8;

// The values of one row; a value stays int32 until it is stored.
using RunOfValues = int32_t[kEpilogueColumns];

// The upper word of a 64-bit number.
constexpr int32_t upper_word(int64_t x) { return static_cast<int32_t>(x >> 32); }

// Multipliers and shifts of eight columns.
struct RunScale {
  int32_t multiplier[kEpilogueColumns];
  int32_t shift[kEpilogueColumns];
};

// Those of columns [column, column + 8); the arrays are padded, so that they can be read whole.
__device__ __forceinline__ RunScale load_run_scale(const Linear& linear, int64_t column) {
  RunScale scale;
  const int4 low = *reinterpret_cast<const int4*>(linear.multiplier + column);
  const int4 high = *reinterpret_cast<const int4*>(linear.multiplier + column + 4);
  const uint2 shifts = *reinterpret_cast<const uint2*>(linear.shift + column);
  const int32_t multipliers[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    scale.multiplier[i] = multipliers[i];
    scale.shift[i] = static_cast<int32_t>((i < 4 ? shifts.x : shifts.y) >> (8 * (i % 4)) & 255);
  }
  return scale;
}

// (x * m + 2^(e-1)) >> e for 32 <= e <= 62.
__device__ __forceinline__ int32_t scale_narrow(int32_t x, int32_t multiplier, int32_t shift) {
  return upper_word(int64_t{x} * multiplier + (int64_t{1} << (shift - 1))) >> (shift - 32);
}

__device__ __forceinline__ int32_t scale_wide(int32_t x, int32_t multiplier, int32_t shift) {
  return saturate<int32_t>(scale_round(x, multiplier, shift));
}

// Clamps to the range of Out.
template <class Out>
__device__ __forceinline__ int32_t clamp_to(int32_t x) {
  constexpr int32_t low = std::numeric_limits<Out>::min();
  constexpr int32_t high = std::numeric_limits<Out>::max();
  return x < low ? low : x > high ? high : x;
}

// A scalar dyadic number times a value of int16.
__device__ __forceinline__ int32_t scale_narrow(int32_t x, const ScalarScale& scale) {
  const int32_t shifted = static_cast<int32_t>(static_cast<uint32_t>(x) << scale.pre_shift);
  return upper_word(int64_t{shifted} * scale.multiplier + scale.rounding) >> scale.post_shift;
}

__device__ __forceinline__ int64_t scale_wide(int32_t x, const ScalarScale& scale) {
  return scale_round(x, scale.multiplier, scale.shift);
}

// The dyadic number of a row times a value of int16.
__device__ __forceinline__ int64_t scale_wide(int32_t x, const RowScales::Branch& scale) {
  return scale_round(x, scale.multiplier, scale.shift);
}

__device__ __forceinline__ int32_t scale_narrow(int32_t x, const RowScales::Branch& scale) {
  return static_cast<int32_t>(scale_wide(x, scale));
}

// branch * x + residual_scale * residual for values of int16, as int16. `narrow` is that of both scales.
template <class Branch>
__device__ __forceinline__ int32_t add_scaled(int32_t x, const Branch& branch, int32_t residual,
                                              const ScalarScale& residual_scale, bool narrow) {
  return narrow ? clamp_to<int16_t>(scale_narrow(x, branch) + scale_narrow(residual, residual_scale))
                : saturate<int16_t>(scale_wide(x, branch) + scale_wide(residual, residual_scale));
}

// Stores eight values, saturated. The address is aligned to eight of them.
__device__ __forceinline__ void store_run(int8_t* y, const RunOfValues& v) {
  *reinterpret_cast<uint2*>(y) = {pack_int8(v[0], v[1], v[2], v[3]), pack_int8(v[4], v[5], v[6], v[7])};
}
__device__ __forceinline__ void store_run(int16_t* y, const RunOfValues& v) {
  *reinterpret_cast<uint4*>(y) = {pack_int16(v[0], v[1]), pack_int16(v[2], v[3]), pack_int16(v[4], v[5]),
                                  pack_int16(v[6], v[7])};
}
__device__ __forceinline__ void store_run(int32_t* y, const RunOfValues& v) {
  reinterpret_cast<int4*>(y)[0] = {v[0], v[1], v[2], v[3]};
  reinterpret_cast<int4*>(y)[1] = {v[4], v[5], v[6], v[7]};
}

// Eight values as they are in memory, for operands that are asked for long before they are used.
template <class In>
struct RunOfInputs;

template <>
struct RunOfInputs<int16_t> {
  uint4 words;

  __device__ __forceinline__ int32_t operator[](int i) const {
    const uint32_t pair = i < 4 ? (i < 2 ? words.x : words.y) : (i < 6 ? words.z : words.w);
    return i % 2 == 0 ? low_half(pair) : high_half(pair);
  }
};

template <>
struct RunOfInputs<int32_t> {
  int4 low;
  int4 high;

  __device__ __forceinline__ int32_t operator[](int i) const {
    const int4 four = i < 4 ? low : high;
    return i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
  }
};

// Loads eight values. The address is aligned to eight of them.
__device__ __forceinline__ RunOfInputs<int16_t> load_run(const int16_t* x) {
  return {*reinterpret_cast<const uint4*>(x)};
}
__device__ __forceinline__ RunOfInputs<int32_t> load_run(const int32_t* x) {
  return {reinterpret_cast<const int4*>(x)[0], reinterpret_cast<const int4*>(x)[1]};
}

// The same for the first `count` of the eight, at any address.
template <class Out>
__device__ __forceinline__ void store_some(Out* y, const RunOfValues& v, int count) {
#pragma unroll
  for (int i = 0; i < kEpilogueColumns; ++i) {
    if (i < count) y[i] = static_cast<Out>(clamp_to<Out>(v[i]));
  }
}
__device__ __forceinline__ RunOfInputs<int16_t> load_some(const int16_t* x, int count) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t low = 2 * i < count ? static_cast<uint16_t>(x[2 * i]) : 0;
    const uint32_t high = 2 * i + 1 < count ? static_cast<uint16_t>(x[2 * i + 1]) : 0;
    words[i] = low | high << 16;
  }
  return {{words[0], words[1], words[2], words[3]}};
}
__device__ __forceinline__ RunOfInputs<int32_t> load_some(const int32_t* x, int count) {
  RunOfValues v;
#pragma unroll
  for (int i = 0; i < kEpilogueColumns; ++i) v[i] = i < count ? x[i] : 0;
  return {{v[0], v[1], v[2], v[3]}, {v[4], v[5], v[6], v[7]}};
}

// Where eight columns of a row stand, and how many of them there are. With `whole`, all of them at an aligned address.
struct RunPlace {
  int64_t row;
  int64_t column;
  int64_t columns;
  bool whole;

  __device__ int64_t offset(int64_t in_row) const { return in_row * columns + column; }
  // At most eight.
  __device__ int count() const {
    return columns - column < kEpilogueColumns ? static_cast<int>(columns - column) : kEpilogueColumns;
  }
};

template <class Out>
__device__ __forceinline__ void store(Out* y, int64_t row, const RunPlace& place, const RunOfValues& v) {
  if (place.whole) {
    store_run(y + place.offset(row), v);
  } else {
    store_some(y + place.offset(row), v, place.count());
  }
}
template <class In>
__device__ __forceinline__ RunOfInputs<In> load(const In* x, int64_t row, const RunPlace& place) {
  return place.whole ? load_run(x + place.offset(row)) : load_some(x + place.offset(row), place.count());
}

// branch * v + residual_scale * residual, in place. `narrow` is that of both scales.
template <class Branch>
__device__ __forceinline__ void add_residual(const Branch& branch, const RunOfInputs<int16_t>& residual,
                                             const ScalarScale& residual_scale, bool narrow, RunOfValues& v) {
  if (narrow) {
#pragma unroll
    for (int i = 0; i < kEpilogueColumns; ++i) {
      v[i] = scale_narrow(clamp_to<int16_t>(v[i]), branch) + scale_narrow(residual[i], residual_scale);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kEpilogueColumns; ++i) {
      v[i] = saturate<int16_t>(scale_wide(clamp_to<int16_t>(v[i]), branch) + scale_wide(residual[i], residual_scale));
    }
  }
}

// branch * v + position, in place.
__device__ __forceinline__ void add_position(const Epilogue& epilogue, const RunOfInputs<int32_t>& position,
                                             RunOfValues& v) {
#pragma unroll
  for (int i = 0; i < kEpilogueColumns; ++i) {
    v[i] = saturate<int16_t>(scale_wide(clamp_to<int16_t>(v[i]), epilogue.branch) + position[i]);
  }
}

// What the kinds load of each run besides the accumulators, and how they finish and store requantised values `v`.
// Stores keep the compiler from moving later loads before them, so kernels load for several runs first.
template <Epilogue::Kind kKind>
struct Finish {
  struct Inputs {};
  static __device__ __forceinline__ Inputs load_inputs(const Epilogue&, const RunPlace&) { return {}; }
  static __device__ __forceinline__ void run(const Epilogue& epilogue, const RunPlace& place, const Inputs&,
                                             RunOfValues& v) {
    using Kind = Epilogue::Kind;
    static_assert(kKind != Kind::kAdd16 && kKind != Kind::kRowAdd16 && kKind != Kind::kPosition16);
    if constexpr (kKind == Kind::kInt8) {
      store(static_cast<int8_t*>(epilogue.y), place.row, place, v);
    } else if constexpr (kKind == Kind::kInt32) {
      store(static_cast<int32_t*>(epilogue.y), place.row, place, v);
    } else {
      if constexpr (kKind == Kind::kClamped8) {
#pragma unroll
        for (int i = 0; i < kEpilogueColumns; ++i) v[i] = clamp_to<int8_t>(v[i]);
      }
      store(static_cast<int16_t*>(epilogue.y), place.row, place, v);
    }
  }
};

template <>
struct Finish<Epilogue::Kind::kAdd16> {
  using Inputs = RunOfInputs<int16_t>;
  static __device__ __forceinline__ Inputs load_inputs(const Epilogue& epilogue, const RunPlace& place) {
    return load(epilogue.residual, place.row, place);
  }
  static __device__ __forceinline__ void run(const Epilogue& epilogue, const RunPlace& place, const Inputs& residual,
                                             RunOfValues& v) {
    add_residual(epilogue.branch, residual, epilogue.residual_scale,
                 epilogue.branch.narrow && epilogue.residual_scale.narrow, v);
    store(static_cast<int16_t*>(epilogue.y), place.row, place, v);
  }
};

template <>
struct Finish<Epilogue::Kind::kRowAdd16> {
  struct Inputs {
    RunOfInputs<int16_t> residual;
    RowScales::Branch branch;
  };
  static __device__ __forceinline__ Inputs load_inputs(const Epilogue& epilogue, const RunPlace& place) {
    return {load(epilogue.residual, place.row, place), epilogue.rows.branch[epilogue.rows.chosen[place.row]]};
  }
  static __device__ __forceinline__ void run(const Epilogue& epilogue, const RunPlace& place, const Inputs& inputs,
                                             RunOfValues& v) {
    add_residual(inputs.branch, inputs.residual, epilogue.residual_scale,
                 epilogue.rows.narrow && epilogue.residual_scale.narrow, v);
    store(static_cast<int16_t*>(epilogue.y), place.row, place, v);
  }
};

template <>
struct Finish<Epilogue::Kind::kPosition16> {
  using Inputs = RunOfInputs<int32_t>;
  static __device__ __forceinline__ Inputs load_inputs(const Epilogue& epilogue, const RunPlace& place) {
    return load(epilogue.position, place.row % epilogue.patches, place);
  }
  static __device__ __forceinline__ void run(const Epilogue& epilogue, const RunPlace& place, const Inputs& position,
                                             RunOfValues& v) {
    add_position(epilogue, position, v);
    const int64_t image = place.row / epilogue.patches;
    store(static_cast<int16_t*>(epilogue.y), place.row + (image + 1) * epilogue.prefix, place, v);
  }
};

}  // namespace ivit::cuda
