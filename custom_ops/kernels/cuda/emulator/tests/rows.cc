// gelu_rows, token_gelu, gather_patches and merge_rows against the loops of their definitions.
#include <algorithm>

#include "kernels/common/layer_norm.h"
#include "kernels/common/shift_gelu.h"
#include "kernels/cuda/emulator/tests/check.h"
#include "kernels/cuda/gelu_rows.h"
#include "kernels/cuda/patches.h"

namespace ivit::cuda {
namespace {

// Dyadic numbers on the host.
struct Scale {
  std::vector<int32_t> multiplier;
  std::vector<int8_t> shift;

  Scale(std::mt19937_64& random, size_t multipliers, size_t shifts)
      : multiplier(random_values<int32_t>(random, multipliers)), shift(shifts) {
    for (int8_t& value : shift) value = static_cast<int8_t>(40 + random() % 8);
  }
  Dyadic get() const { return {multiplier.data(), multiplier.size() > 1, shift.data(), shift.size() > 1}; }
};

std::vector<int8_t> gelu_wanted(std::vector<int8_t> x, size_t channels, int64_t x0, int64_t n, const Dyadic& scale) {
  const ShiftExpTable exponential(x0, n);
  for (size_t first = 0; first < x.size(); first += channels) {
    int16_t values[256];
    shift_gelu_values(*std::max_element(&x[first], &x[first] + channels), exponential, values);
    for (size_t c = 0; c < channels; ++c) {
      x[first + c] = saturate<int8_t>(scale.scale(values[x[first + c] + 128], static_cast<int64_t>(c)));
    }
  }
  return x;
}

void gelu_rows_by_loops() {
  std::mt19937_64 random(1);
  for (const size_t channels : {1, 15, 16, 192, 512, 768, 1000, 1536, 2048, 3072, 4096, 5120, 8192, 9000}) {
    for (const size_t rows : {1, 5}) {
      for (const bool per_channel : {false, true}) {
        const size_t count = per_channel ? channels : 1;
        for (const Scale& scale : {Scale(random, count, count), Scale(random, count, 1)}) {
          std::vector<int8_t> x = random_values<int8_t>(random, rows * channels);
          for (int8_t& value : x) value = static_cast<int8_t>(value / 4 - 90);
          DeviceArray<int8_t> device(x);
          const GeluRows table(-20, 15, scale.get(), static_cast<int64_t>(channels));
          gelu_rows(device.get(), static_cast<int64_t>(rows), static_cast<int64_t>(channels), table, nullptr);
          check_arrays(to_host(device), gelu_wanted(x, channels, -20, 15, scale.get()),
                       "gelu_rows of " + std::to_string(channels));
        }
      }
    }
  }
}

void token_gelu_by_loops() {
  std::mt19937_64 random(4);
  for (const size_t channels : {1, 15, 16, 192, 512, 768, 1000, 1536, 2048, 3072, 4096, 5120, 8192, 9000}) {
    for (const size_t rows : {1, 5}) {
      const size_t scales = 1 + random() % 64;
      const std::vector<int8_t> tables = random_values<int8_t>(random, scales * 256);
      std::vector<int8_t> token_scale(256);
      for (int8_t& scale : token_scale) scale = static_cast<int8_t>(random() % 64);
      std::vector<int8_t> x = random_values<int8_t>(random, rows * channels);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int8_t>(x[i] >> i / channels % 7);
      DeviceArray<int8_t> device(x);
      DeviceArray<int32_t> device_chosen(rows);
      token_gelu(device.get(), static_cast<int64_t>(rows), static_cast<int64_t>(channels),
                 TokenTables(token_scale.data(), tables.data(), static_cast<int64_t>(scales)), device_chosen.get(),
                 nullptr);
      std::vector<int32_t> chosen;
      for (size_t first = 0; first < x.size(); first += channels) {
        const size_t largest = static_cast<size_t>(*std::max_element(&x[first], &x[first] + channels) + 128);
        const size_t scale = std::min(static_cast<size_t>(token_scale[largest]), scales - 1);
        chosen.push_back(static_cast<int32_t>(scale));
        for (size_t c = first; c < first + channels; ++c) {
          x[c] = tables[256 * scale + static_cast<size_t>(x[c] + 128)];
        }
      }
      check_arrays(to_host(device), x, "token_gelu of " + std::to_string(channels));
      check_arrays(to_host(device_chosen), chosen, "scales of tokens of " + std::to_string(channels));
    }
  }
}

struct PatchCase {
  ImageShape shape;
  int64_t size;
  int64_t stride;

  int64_t length() const { return shape.colours * size * size; }
  int64_t patches() const { return shape.height / size * (shape.width / size); }
};

// Patches of images whose quantised bytes pixel(index, colour) gives.
template <class Pixel>
std::vector<int8_t> patches_wanted(const PatchCase& patch, const Pixel& pixel) {
  const ImageShape& shape = patch.shape;
  std::vector<int8_t> rows(static_cast<size_t>(shape.images * patch.patches() * patch.stride), 0);
  size_t row = 0;
  for (int64_t image = 0; image < shape.images; ++image) {
    for (int64_t top = 0; top < shape.height; top += patch.size) {
      for (int64_t left = 0; left < shape.width; left += patch.size, row += static_cast<size_t>(patch.stride)) {
        size_t byte = row;
        for (int64_t colour = 0; colour < shape.colours; ++colour) {
          for (int64_t i = 0; i < patch.size * patch.size; ++i) {
            const int64_t line = (image * shape.colours + colour) * shape.height + top + i / patch.size;
            rows[byte++] = pixel(static_cast<size_t>(line * shape.width + left + i % patch.size), colour);
          }
        }
      }
    }
  }
  return rows;
}

void check_patches(const PatchCase& patch, std::mt19937_64& random) {
  const ImageShape& shape = patch.shape;
  const size_t size = static_cast<size_t>(shape.images * shape.colours * shape.height * shape.width);
  const std::string what = "patches of " + std::to_string(patch.size) + " with stride " + std::to_string(patch.stride);
  DeviceArray<int8_t> rows(static_cast<size_t>(shape.images * patch.patches() * patch.stride));

  const std::vector<int8_t> quantized = random_values<int8_t>(random, size);
  gather_patches(DeviceArray<int8_t>(quantized).get(), shape, patch.size, rows.get(), patch.stride, nullptr);
  check_arrays(to_host(rows), patches_wanted(patch, [&](size_t i, int64_t) { return quantized[i]; }), what);

  const std::vector<uint8_t> pixels = random_values<uint8_t>(random, size);
  std::vector<int32_t> multiplier;
  std::vector<int64_t> offset;
  std::vector<int8_t> shift;
  for (int64_t colour = 0; colour < shape.colours; ++colour) {
    multiplier.push_back(static_cast<int32_t>(random() >> 34));
    offset.push_back(static_cast<int64_t>(random() >> 28) - (int64_t{1} << 36));
    shift.push_back(static_cast<int8_t>(30));
  }
  const PixelScale scale{multiplier.data(), offset.data(), shift.data()};
  const PixelTables tables(scale, shape.colours);
  gather_patches(DeviceArray<uint8_t>(pixels).get(), shape, tables, patch.size, rows.get(), patch.stride, nullptr);
  check_arrays(to_host(rows), patches_wanted(patch, [&](size_t i, int64_t c) { return scale.quantize(pixels[i], c); }),
               what + ", pixels");
}

void patches_by_loops() {
  std::mt19937_64 random(2);
  for (const int64_t size : {1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 20, 32}) {
    for (const int64_t colours : {1, 3, 17}) {
      const ImageShape shape{2, colours, 2 * size, 3 * size};
      const int64_t length = colours * size * size;
      for (const int64_t stride : {length, round_up(length, 16), round_up(length, 64), length + 5}) {
        check_patches({shape, size, stride}, random);
      }
    }
  }
  check_patches({{1, 3, 224, 224}, 16, 768}, random);
  check_patches({{2, 3, 56, 112}, 14, 592}, random);
}

// One normalised row, by the definition.
void normalize_row(const std::vector<int16_t>& x, const Affine& affine, int8_t* y) {
  const int64_t channels = static_cast<int64_t>(x.size());
  int64_t sum = 0;
  for (const int16_t value : x) sum += value;
  const int64_t mean = round_half_even_divide(sum, channels);
  int64_t squares = 0;
  for (const int16_t value : x) squares += (value - mean) * (value - mean);
  const int64_t factor = (int64_t{1} << 31) / newton_sqrt(squares);
  for (size_t c = 0; c < x.size(); ++c) {
    const int64_t z = ((x[c] - mean) * factor) >> 1;
    y[c] = saturate<int8_t>((z * affine.multiplier[c] + affine.offset[c]) >> affine.shift[c]);
  }
}

void check_merge(int64_t height, int64_t width, int64_t channels, int64_t stride, std::mt19937_64& random) {
  const int64_t images = 2;
  const size_t merged = static_cast<size_t>(4 * channels);
  const std::vector<int16_t> x =
      random_values<int16_t>(random, static_cast<size_t>(images * height * width * channels));
  const std::vector<int32_t> multiplier = random_values<int32_t>(random, merged);
  std::vector<int64_t> offset = random_values<int64_t>(random, merged);
  std::vector<int8_t> shift(merged);
  for (int64_t& value : offset) value >>= 10;
  // Most shifts are 32 and more; some are not.
  for (int8_t& value : shift) value = static_cast<int8_t>(random() % 40 == 0 ? 1 + random() % 62 : 50 + random() % 6);

  std::vector<int8_t> wanted;
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t line = 0; line < height; line += 2) {
      for (int64_t column = 0; column < width; column += 2) {
        std::vector<int16_t> row;
        for (int64_t part = 0; part < 4; ++part) {
          const int64_t i = line + part % 2, j = column + part / 2;
          for (int64_t c = 0; c < channels; ++c) {
            const size_t place = static_cast<size_t>(((image * height + i) * width + j) * channels + c);
            row.push_back(i < height && j < width ? x[place] : int16_t{0});
          }
        }
        wanted.resize(wanted.size() + static_cast<size_t>(stride), 0);
        normalize_row(row, {multiplier.data(), offset.data(), shift.data()}, &wanted[wanted.size() - stride]);
      }
    }
  }
  const DeviceArray<int16_t> device(x);
  const DeviceArray<int32_t> device_multiplier(multiplier);
  const DeviceArray<int64_t> device_offset(offset);
  const DeviceArray<int8_t> device_shift(shift);
  DeviceArray<int8_t> rows(wanted.size());
  merge_rows(device.get(), images, height, width, channels,
             {device_multiplier.get(), device_offset.get(), device_shift.get()}, rows.get(), stride, nullptr);
  check_arrays(to_host(rows), wanted, "merged rows of " + std::to_string(channels));
}

void merge_by_loops() {
  std::mt19937_64 random(3);
  for (const int64_t channels : {1, 3, 4, 24, 33, 64, 96, 128, 192, 256, 384, 512, 516}) {
    for (const int64_t stride : {4 * channels, round_up(4 * channels, 64), 4 * channels + 6}) {
      check_merge(4, 6, channels, stride, random);
      check_merge(1, 1, channels, stride, random);
      check_merge(5, 3, channels, stride, random);
    }
  }
}

}  // namespace

std::vector<Test> rows_tests() {
  return {{"gelu_rows", gelu_rows_by_loops},
          {"token_gelu", token_gelu_by_loops},
          {"gather_patches", patches_by_loops},
          {"merge_rows", merge_by_loops}};
}

}  // namespace ivit::cuda
