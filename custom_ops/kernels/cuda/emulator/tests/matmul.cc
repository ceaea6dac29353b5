// The matrix product in every tile and with every epilogue against plain loops. The operators' tests reach only the
// tiles that the choice by shape gives them.
#include "kernels/cuda/matmul.h"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/emulator/tests/check.h"
#include "kernels/cuda/matmul_mma.h"

namespace ivit::cuda {
namespace {

using Kind = Epilogue::Kind;
using Random = std::mt19937_64;

int64_t uniform(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

template <class T>
std::vector<T> values(Random& random, int64_t count, int64_t low, int64_t high) {
  std::vector<T> all(static_cast<size_t>(count));
  for (T& value : all) value = static_cast<T>(uniform(random, low, high));
  return all;
}

struct Shape {
  int64_t rows;
  int64_t inner;
  int64_t columns;
  int64_t stride;  // of rows of x
};

// Parameters of one product, in memory of the host.
struct Problem {
  Shape shape;
  std::vector<int8_t> x;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<int32_t> multiplier;
  std::vector<int8_t> shift;
  std::vector<int16_t> residual;
  std::vector<int32_t> position;
  // Row scales: biases, dyadic numbers, and what each row takes.
  std::vector<int32_t> row_bias;
  std::vector<int32_t> row_multiplier;
  std::vector<int8_t> row_shift;
  std::vector<int32_t> chosen;
  int32_t scalar_multiplier[2];
  int8_t scalar_shift[2];
  int64_t patches;
  int64_t prefix;

  Dyadic scale() const { return {multiplier.data(), 1, shift.data(), 1}; }
  Dyadic row_scale() const { return {row_multiplier.data(), 1, row_shift.data(), 1}; }
  Dyadic scalar(int side) const { return {&scalar_multiplier[side], 0, &scalar_shift[side], 0}; }
};

// With `extreme`, any parameters; otherwise such that results are of the order of their types' ranges.
Problem make_problem(Random& random, const Shape& shape, Kind kind, bool extreme) {
  const int64_t bits = kind == Kind::kInt8 || kind == Kind::kClamped8 ? 7 : kind == Kind::kInt32 ? 31 : 15;
  const int64_t shift = std::clamp<int64_t>(31 + 17 - bits, 1, 62);
  Problem problem;
  problem.shape = shape;
  problem.x = values<int8_t>(random, shape.rows * shape.stride, -128, 127);
  problem.weight = values<int8_t>(random, shape.inner * shape.columns, -128, 127);
  const int64_t bias = extreme ? INT32_MAX : 1 << 16;
  problem.bias = values<int32_t>(random, shape.columns, -bias - 1, bias);
  problem.multiplier = values<int32_t>(random, shape.columns, INT32_MIN, INT32_MAX);
  problem.shift = values<int8_t>(random, shape.columns, extreme ? 1 : shift - 1, extreme ? 62 : shift + 1);
  problem.residual = values<int16_t>(random, shape.rows * shape.columns, INT16_MIN, INT16_MAX);
  problem.patches = uniform(random, 1, shape.rows);
  problem.prefix = uniform(random, 0, 3);
  const int64_t position = extreme ? INT32_MAX : 1 << 14;
  problem.position = values<int32_t>(random, problem.patches * shape.columns, -position - 1, position);
  const int64_t scales = uniform(random, 1, 5);
  problem.row_bias = values<int32_t>(random, scales * shape.columns, -bias - 1, bias);
  problem.row_multiplier = values<int32_t>(random, scales, extreme ? INT32_MIN : 1 << 30, INT32_MAX);
  problem.row_shift = values<int8_t>(random, scales, extreme ? 1 : 30, extreme ? 62 : 32);
  problem.chosen = values<int32_t>(random, shape.rows, 0, scales - 1);
  for (int side = 0; side < 2; ++side) {
    problem.scalar_multiplier[side] = static_cast<int32_t>(uniform(random, extreme ? INT32_MIN : 1 << 30, INT32_MAX));
    problem.scalar_shift[side] = static_cast<int8_t>(extreme ? uniform(random, 1, 62) : uniform(random, 30, 32));
  }
  return problem;
}

// The row of y that a row of the product goes to.
int64_t target_row(const Problem& problem, Kind kind, int64_t row) {
  return kind == Kind::kPosition16 ? row + (row / problem.patches + 1) * problem.prefix : row;
}

int64_t target_rows(const Problem& problem, Kind kind) { return target_row(problem, kind, problem.shape.rows - 1) + 1; }

int64_t wanted_value(const Problem& problem, Kind kind, int64_t row, int64_t column) {
  const Shape& shape = problem.shape;
  const int64_t chosen = problem.chosen[static_cast<size_t>(row)];
  uint32_t sum = static_cast<uint32_t>(kind == Kind::kRowAdd16
                                           ? problem.row_bias[static_cast<size_t>(chosen * shape.columns + column)]
                                           : problem.bias[static_cast<size_t>(column)]);
  for (int64_t k = 0; k < shape.inner; ++k) {
    sum += static_cast<uint32_t>(problem.x[static_cast<size_t>(row * shape.stride + k)] *
                                 problem.weight[static_cast<size_t>(k * shape.columns + column)]);
  }
  const int64_t scaled = problem.scale().scale(static_cast<int32_t>(sum), column);
  const auto branch = [&] {
    const int16_t value = saturate<int16_t>(scaled);
    return kind == Kind::kRowAdd16 ? problem.row_scale().scale(value, chosen) : problem.scalar(0).scale(value, 0);
  };
  switch (kind) {
    case Kind::kInt8:
    case Kind::kClamped8:
      return saturate<int8_t>(scaled);
    case Kind::kInt16:
      return saturate<int16_t>(scaled);
    case Kind::kInt32:
      return saturate<int32_t>(scaled);
    case Kind::kAdd16:
    case Kind::kRowAdd16: {
      const int16_t residual = problem.residual[static_cast<size_t>(row * shape.columns + column)];
      return saturate<int16_t>(branch() + problem.scalar(1).scale(residual, 0));
    }
    case Kind::kPosition16: {
      const int64_t patch = row % problem.patches;
      return saturate<int16_t>(branch() + problem.position[static_cast<size_t>(patch * shape.columns + column)]);
    }
  }
  return 0;
}

int64_t value_bytes(Kind kind) { return kind == Kind::kInt8 ? 1 : kind == Kind::kInt32 ? 4 : 2; }

int64_t read_value(const std::vector<int8_t>& bytes, int64_t index, Kind kind) {
  if (value_bytes(kind) == 1) return bytes[static_cast<size_t>(index)];
  if (value_bytes(kind) == 2) return reinterpret_cast<const int16_t*>(bytes.data())[index];
  return reinterpret_cast<const int32_t*>(bytes.data())[index];
}

// Tile -1 is the one that matmul() chooses.
void run(const Problem& problem, Kind kind, int tile) {
  const Shape& shape = problem.shape;
  const DeviceArray<int8_t> x(problem.x);
  const DeviceArray<int16_t> residual(problem.residual);
  const DeviceArray<int32_t> position(problem.position);
  const PackedLinear linear(problem.weight.data(), shape.inner, shape.columns, problem.bias.data(), problem.scale());
  const PackedRowScales row_scales(problem.row_bias.data(), shape.columns, problem.row_scale(),
                                   static_cast<int64_t>(problem.row_shift.size()));
  const DeviceArray<int32_t> chosen(problem.chosen);
  std::vector<int8_t> y(static_cast<size_t>(target_rows(problem, kind) * shape.columns * value_bytes(kind)));
  DeviceArray<int8_t> device_y(y);
  Epilogue epilogue{kind, device_y.get(), scalar_scale(problem.scalar(0)), scalar_scale(problem.scalar(1))};
  epilogue.residual = residual.get();
  epilogue.rows = row_scales.with(chosen.get());
  epilogue.position = position.get();
  epilogue.patches = problem.patches;
  epilogue.prefix = problem.prefix;
  if (tile < 0) {
    matmul(x.get(), shape.stride, shape.rows, linear, epilogue, nullptr);
  } else {
    matmul_mma(tile, x.get(), shape.stride, shape.rows, linear.get(), epilogue, nullptr);
  }
  synchronize(nullptr);
  copy_to_host(y.data(), device_y.get(), y.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t column = 0; column < shape.columns; ++column) {
      const int64_t found = read_value(y, target_row(problem, kind, row) * shape.columns + column, kind);
      const int64_t wanted = wanted_value(problem, kind, row, column);
      if (found == wanted) continue;
      const auto text = [](int64_t value) { return std::to_string(value); };
      throw std::runtime_error("tile " + text(tile) + ", kind " + text(static_cast<int>(kind)) + ", " +
                               text(shape.rows) + " x " + text(shape.inner) + " x " + text(shape.columns) +
                               ", stride " + text(shape.stride) + ", row " + text(row) + ", column " + text(column) +
                               ": expected " + text(wanted) + ", found " + text(found));
    }
  }
}

template <Kind kKind>
void every_tile() {
  // Rows that end inside a tile, inner lengths around steps and pipelines, strides that are and are not aligned.
  const Shape shapes[] = {{1, 0, 1, 0},       {1, 1, 1, 1},        {3, 5, 7, 16},      {32, 64, 64, 64},
                          {33, 65, 65, 80},   {129, 48, 136, 48},  {64, 128, 72, 128}, {5, 192, 8, 192},
                          {31, 320, 24, 320}, {40, 449, 130, 449}, {200, 16, 264, 32}, {70, 40, 128, 48},
                          {17, 704, 16, 704}};
  Random random(7);
  for (const Shape& shape : shapes) {
    for (const bool extreme : {false, true}) {
      const Problem problem = make_problem(random, shape, kKind, extreme);
      for (int tile = -1; tile < kTileCount; ++tile) run(problem, kKind, tile);
    }
  }
}

}  // namespace

std::vector<Test> matmul_tests() {
  return {{"matmul_int8", every_tile<Kind::kInt8>},           {"matmul_int16", every_tile<Kind::kInt16>},
          {"matmul_int32", every_tile<Kind::kInt32>},         {"matmul_clamped8", every_tile<Kind::kClamped8>},
          {"matmul_residual", every_tile<Kind::kAdd16>},      {"matmul_row_scales", every_tile<Kind::kRowAdd16>},
          {"matmul_positions", every_tile<Kind::kPosition16>}};
}

}  // namespace ivit::cuda
