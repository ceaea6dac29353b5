// IntPatchMerge: squares of 2 x 2 tokens to one token.
#include "kernels/cpu/int_patch_merge.h"

#include <algorithm>

#include "kernels/cpu/clamp_bits.h"
#include "kernels/cpu/int_linear.h"
#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Squares that a thread gathers at a time.
constexpr int64_t kBlockSquares = 48;

// The four tokens of a square side by side, column by column; zeros where there is none.
void gather_square(const int16_t* x, const PatchMerge& merge, int64_t square, int16_t* target) {
  const int64_t across = divide_up(merge.width, 2);
  for (int64_t part = 0; part < 4; ++part) {
    const int64_t row = square / across * 2 + part % 2;
    const int64_t column = square % across * 2 + part / 2;
    int16_t* const to = target + part * merge.channels;
    if (row < merge.height && column < merge.width) {
      std::copy_n(x + (row * merge.width + column) * merge.channels, merge.channels, to);
    } else {
      std::fill_n(to, merge.channels, int16_t{0});
    }
  }
}

}  // namespace

void int_patch_merge(const Parallel& parallel, const int16_t* x, const PatchMerge& merge, int16_t* y) {
  const Variant& variant = active_variant();
  const PackedLinear& linear = merge.linear;
  const int64_t squares = divide_up(merge.height, 2) * divide_up(merge.width, 2);
  const int64_t image_size = merge.height * merge.width * merge.channels;
  const int64_t rows = merge.images * squares;
  const Split split(rows, std::max(wanted_tasks(), divide_up(rows, kBlockSquares)), variant.matmul.row_tile);
  parallel.run(split.count(), [&](int64_t task) {
    const int64_t first = split.begin(task);
    const int64_t count = split.end(task) - first;
    thread_local Scratch<int16_t> merged_memory;
    thread_local Scratch<int8_t> normalized_memory;
    int16_t* const merged = merged_memory.get(count * linear.inner);
    int8_t* const normalized = normalized_memory.get(count * linear.inner);
    for (int64_t row = 0; row < count; ++row) {
      const int64_t image = (first + row) / squares;
      gather_square(x + image * image_size, merge, (first + row) % squares, merged + row * linear.inner);
    }
    variant.layer_norm(merged, count, linear.inner, merge.norm, normalized);
    int16_t* const target = y + first * linear.columns;
    variant.matmul.compute(normalized, linear.inner, count, linear, 0, linear.panels(), requantize_to(target, linear));
    clamp_bits(target, count * linear.columns, merge.bits);
  });
}

}  // namespace ivit::cpu
