// Packing of linear layers, and the split of a product over threads.
#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// What a weight may take of a second-level cache.
constexpr int64_t kCachedWeightBytes = 512 * 1024;

}  // namespace

PackedLinear::PackedLinear(const PanelLayout& panel_layout, const int8_t* source, int64_t inner_size,
                           int64_t column_count, const int32_t* source_bias, const Dyadic& scale)
    : layout(panel_layout),
      // Without columns nothing bounds the number of rows, and nothing is computed.
      inner(column_count == 0 ? 0 : inner_size),
      padded_inner(round_up(inner, panel_layout.group)),
      columns(column_count),
      narrow(true),
      weight(round_up(column_count, panel_layout.panel_columns) * padded_inner),
      bias(round_up(column_count, panel_layout.panel_columns)),
      multiplier(round_up(column_count, panel_layout.panel_columns)),
      multiplier_odd(round_up(column_count, panel_layout.panel_columns)),
      shift(round_up(column_count, panel_layout.panel_columns)),
      pre_shift(round_up(column_count, panel_layout.panel_columns)),
      rounding(round_up(column_count, panel_layout.panel_columns)),
      post_shift(round_up(column_count, panel_layout.panel_columns)),
      places(static_cast<size_t>(panel_layout.panel_columns)) {
  const int64_t width = layout.panel_columns;
  const int64_t group = layout.group;
  for (int64_t place = 0; place < width; ++place) {
    places[layout.order == nullptr ? place : layout.order[place]] = static_cast<uint8_t>(place);
  }
  // Padding contributes nothing: as the unsigned operand it is 0, not the offset.
  std::fill_n(weight.get(), panels() * width * padded_inner, uint8_t{0});
  std::vector<int64_t> magnitude(static_cast<size_t>(panels() * width));
  for (int64_t k = 0; k < inner; ++k) {
    for (int64_t n = 0; n < columns; ++n) {
      const int value = source[k * columns + n];
      const int64_t at = place(n);
      uint8_t* packed = weight.get() + at / width * width * padded_inner;
      packed[(k / group * width + at % width) * group + k % group] = static_cast<uint8_t>(value + layout.weight_offset);
      magnitude[static_cast<size_t>(at)] += std::abs(value);
    }
  }
  for (int64_t at = 0; at < panels() * width; ++at) {
    bias[at] = multiplier[at] = pre_shift[at] = rounding[at] = post_shift[at] = 0;
    shift[at] = 1;
  }
  for (int64_t n = 0; n < columns; ++n) {
    const int64_t at = place(n);
    bias[at] = source_bias[n];
    const NarrowScale number(scale.from(n));
    multiplier[at] = number.multiplier;
    shift[at] = scale.from(n).shift[0];
    pre_shift[at] = number.pre_shift;
    rounding[at] = number.rounding;
    post_shift[at] = number.post_shift;
    narrow = narrow && number.fits(128 * magnitude[static_cast<size_t>(at)] + std::abs(int64_t{source_bias[n]}));
    shifted = shifted || number.pre_shift > 0;
  }
  for (int64_t at = 0; at < panels() * width; ++at) multiplier_odd[at] = at % 2 == 0 ? multiplier[at + 1] : 0;
}

void matmul(const Parallel& parallel, const int8_t* x, int64_t rows, const PackedLinear& linear,
            const Epilogue& epilogue) {
  const MatmulKernel& kernel = active_variant().matmul;
  // A weight that fits a second-level cache is best read by every thread, which then keeps its rows to itself. Of a
  // larger one each thread takes its own panels; rows are split too where panels do not give all the same work.
  const int64_t wanted = wanted_tasks();
  const int64_t threads = wanted / 2;
  const bool small = linear.panels() * linear.layout.panel_columns * linear.padded_inner <= kCachedWeightBytes;
  const bool by_rows = small && rows >= wanted * 2 * kernel.row_tile;
  const int64_t groups = by_rows ? 1 : std::max<int64_t>(1, std::min(linear.panels(), wanted));
  const bool even = linear.panels() % groups == 0 && groups % threads == 0;
  const Split row_split(rows, even ? 1 : std::max(threads, divide_up(wanted, groups)), kernel.row_tile);
  const Split panel_split(linear.panels(), groups, 1);
  parallel.run(row_split.count() * panel_split.count(), [&](int64_t task) {
    const int64_t row_task = task % row_split.count();
    const int64_t panel_task = task / row_split.count();
    const int64_t first_row = row_split.begin(row_task);
    kernel.compute(x + first_row * linear.inner, linear.inner, row_split.end(row_task) - first_row, linear,
                   panel_split.begin(panel_task), panel_split.end(panel_task), from_row(epilogue, first_row));
  });
}

}  // namespace ivit::cpu
