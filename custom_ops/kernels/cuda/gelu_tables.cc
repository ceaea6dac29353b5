// The tables of gelu_rows.h, made on the host.
#include <algorithm>
#include <vector>

#include "kernels/common/shift_gelu.h"
#include "kernels/cuda/gelu_rows.h"

namespace ivit::cuda {
namespace {

// 256 results for each of the 256 row maxima; convert(value of ShiftGELU) is what the table holds.
template <class T, class Convert>
std::vector<T> gelu_table(int64_t x0, int64_t n, const Convert& convert) {
  const ShiftExpTable exponential(x0, n);
  std::vector<T> table(256 * 256, 0);
  for (int row_max = INT8_MIN; row_max <= INT8_MAX; ++row_max) {
    T* const results = table.data() + 256 * static_cast<uint8_t>(row_max);
    int16_t gelu[256];
    shift_gelu_values(static_cast<int8_t>(row_max), exponential, gelu);
    for (int value = INT8_MIN; value <= row_max; ++value) {
      results[static_cast<uint8_t>(value)] = convert(gelu[value - INT8_MIN]);
    }
  }
  return table;
}

std::vector<int16_t> value_table(int64_t x0, int64_t n) {
  return gelu_table<int16_t>(x0, n, [](int16_t value) { return value; });
}

}  // namespace

GeluValues::GeluValues(int64_t x0, int64_t n) : table_(value_table(x0, n)) {}

GeluRows::GeluRows(int64_t x0, int64_t n, const Dyadic& scale, int64_t channels) {
  if (scale.multiplier_stride == 0 && scale.shift_stride == 0) {
    const auto requantize = [&](int16_t value) { return saturate<int8_t>(scale.scale(value, 0)); };
    bytes_ = DeviceArray<int8_t>(gelu_table<int8_t>(x0, n, requantize));
    return;
  }
  std::vector<int32_t> multiplier;
  std::vector<int8_t> shift;
  for (int64_t c = 0; c < channels; ++c) {
    multiplier.push_back(scale.multiplier[c * scale.multiplier_stride]);
    shift.push_back(scale.shift[c * scale.shift_stride]);
  }
  values_ = DeviceArray<int16_t>(value_table(x0, n));
  multiplier_ = DeviceArray<int32_t>(multiplier);
  shift_ = DeviceArray<int8_t>(shift);
}

TokenTables::TokenTables(const int8_t* token_scale, const int8_t* tables, int64_t scales) {
  std::vector<uint8_t> scale_of_maximum;
  std::vector<int8_t> bytes;
  const auto place = [](int64_t bits) { return (bits + 128) % 256; };
  for (int64_t i = 0; i < 256; ++i) {
    scale_of_maximum.push_back(static_cast<uint8_t>(std::min<int64_t>(token_scale[place(i)], scales - 1)));
  }
  for (int64_t i = 0; i < 256 * scales; ++i) bytes.push_back(tables[i / 256 * 256 + place(i % 256)]);
  scale_of_maximum_ = DeviceArray<uint8_t>(scale_of_maximum);
  bytes_ = DeviceArray<int8_t>(bytes);
}

}  // namespace ivit::cuda
