// The inner loop of all 256-bit matrix products: up to 6 rows x 16 columns, the whole inner dimension in one go.
//
// Each instruction set takes four bytes of a row, repeated in all lanes, and 64 bytes of weights per step: [16 columns]
// of two 16-bit values (AVX2) or of four bytes (AVX-VNNI).
#pragma once

#include <cstdint>

namespace ivit::cpu::avx2 {

constexpr int64_t kTileRows = 6;
constexpr int64_t kTileColumns = 16;
constexpr int64_t kTileStepBytes = 64;

// Column 8 * L + 4 * j + i of a tile stands in lane 4 * L + i of register j: a saturating pack of both, which works
// inside 128-bit lanes, then gives 16 values in natural order. Exchanging the middle fours twice changes nothing: the
// place of column c is kTileOrder[c], and the column at place p is kTileOrder[p].
inline constexpr uint8_t kTileOrder[kTileColumns] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};

// Rows `row_bytes` apart; the accumulators of row r begin at start[r].
struct TileRows {
  const uint8_t* values;
  int64_t row_bytes;
  const int32_t* start;
};

// Writes the 16 accumulators of row r to sums + r * sums_stride. Weights and sums are aligned to 32 bytes.
using Tile = void (*)(const TileRows& rows, const uint8_t* weights, int64_t steps, int32_t* sums, int64_t sums_stride);

// One entry for each number of rows, 1 to 6.
extern const Tile kTileAvx2[kTileRows];
// Unsigned weights by signed rows.
extern const Tile kTileAvxVnni[kTileRows];
// Signed weights by unsigned rows.
extern const Tile kTileAvxVnniUnsignedRows[kTileRows];

}  // namespace ivit::cpu::avx2
