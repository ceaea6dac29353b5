// The matrix product under every linear layer: int8 rows times an int8 weight, summed in int32.
#include "kernels/cpu/matmul.h"

#include <algorithm>

#include "kernels/cpu/dot.h"

namespace ivit::cpu {
namespace {

// Tiles small enough that a tile of widened rows stays in the second-level cache and that one image gives work to
// several threads, and large enough that widening is cheap next to the products.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileColumns = 128;

// `total` cut into tiles of equal size, a multiple of `multiple`.
struct Tiling {
  Tiling(int64_t total, int64_t largest, int64_t multiple)
      : total(total), size(round_up(divide_up(total, std::max<int64_t>(1, divide_up(total, largest))), multiple)) {}

  int64_t count() const { return total == 0 ? 0 : divide_up(total, size); }
  int64_t begin(int64_t tile) const { return tile * size; }
  int64_t end(int64_t tile) const { return std::min(total, (tile + 1) * size); }

  int64_t total;
  int64_t size;
};

}  // namespace

PackedWeight::PackedWeight(const int8_t* weight, int64_t inner, int64_t columns)
    : inner_(inner),
      padded_inner_(round_up(inner, kDotPadding)),
      columns_(columns),
      data_(static_cast<size_t>(padded_inner_ * round_up(columns, kDotColumns))) {
  for (int64_t k = 0; k < inner; ++k) {
    for (int64_t n = 0; n < columns; ++n) data_[n * padded_inner_ + k] = weight[k * columns + n];
  }
}

void matmul(const Parallel& parallel, int64_t rows, const PackedWeight& weight, const int32_t* bias,
            const LoadRow& load, const StoreRow& store) {
  const Tiling row_tiles(rows, kTileRows, kDotRows);
  const Tiling column_tiles(weight.columns(), kTileColumns, kDotColumns);
  const int64_t length = weight.padded_inner();
  parallel.run(row_tiles.count() * column_tiles.count(), [&](int64_t task) {
    const int64_t first_row = row_tiles.begin(task / column_tiles.count());
    const int64_t row_count = row_tiles.end(task / column_tiles.count()) - first_row;
    const int64_t first_column = column_tiles.begin(task % column_tiles.count());
    const int64_t column_count = column_tiles.end(task % column_tiles.count()) - first_column;

    const int64_t padded_rows = round_up(row_count, kDotRows);
    const auto x = scratch<int16_t>(padded_rows * length);
    for (int64_t row = 0; row < row_count; ++row) {
      load(first_row + row, x.get() + row * length);
      std::fill(x.get() + row * length + weight.inner(), x.get() + (row + 1) * length, int16_t{0});
    }
    std::fill(x.get() + row_count * length, x.get() + padded_rows * length, int16_t{0});

    const auto w = scratch<int16_t>(kDotColumns * length);
    int32_t sums[kTileRows][kTileColumns];
    for (int64_t column = 0; column < column_count; column += kDotColumns) {
      const int8_t* packed = weight.column(first_column + column);
      std::copy(packed, packed + kDotColumns * length, w.get());
      for (int64_t row = 0; row < padded_rows; row += kDotRows) {
        dot_4x2(x.get() + row * length, w.get(), length, &sums[row][column], kTileColumns);
      }
    }
    for (int64_t row = 0; row < row_count; ++row) {
      for (int64_t column = 0; column < column_count; ++column) {
        sums[row][column] = static_cast<int32_t>(static_cast<uint32_t>(sums[row][column]) +
                                                 static_cast<uint32_t>(bias[first_column + column]));
      }
      store(first_row + row, first_column, column_count, sums[row]);
    }
  });
}

}  // namespace ivit::cpu
