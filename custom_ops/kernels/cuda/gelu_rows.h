// ShiftGELU, alone or with the requantisation after it, and TableGELU with a scale for each token, by tables.
//
// For fixed attributes a result of ShiftGELU depends on the value and on the row maximum alone. A table on the device
// has, for each row maximum, the results of all 256 values; a kernel takes the row maximum, brings its part of the
// table to shared memory, and looks every value up. Tables are indexed by static_cast<uint8_t>(row maximum) and
// static_cast<uint8_t>(value); entries for values above the maximum are zero and never used.
#pragma once

#include <cstdint>

#include "kernels/common/dyadic.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

// The table of ShiftGELU itself.
class GeluValues {
 public:
  // Attributes of the shift exponential.
  GeluValues(int64_t x0, int64_t n);
  const int16_t* table() const { return table_.get(); }

 private:
  DeviceArray<int16_t> table_;
};

// ShiftGELU: x and y are [rows, channels].
void shift_gelu(const int8_t* x, int64_t rows, int64_t channels, const GeluValues& values, int16_t* y, Stream stream);

// ShiftGELU and its requantisation. One dyadic number for all channels is part of the table; a number for each channel
// is applied to the values of the table.
class GeluRows {
 public:
  // `scale` is in host memory, for `channels` channels.
  GeluRows(int64_t x0, int64_t n, const Dyadic& scale, int64_t channels);

  // Null where there is a number for each channel.
  const int8_t* bytes() const { return bytes_.get(); }
  // Null where there is one number for all channels.
  const int16_t* values() const { return values_.get(); }
  // On the device; for values().
  Dyadic scale() const { return {multiplier_.get(), 1, shift_.get(), 1}; }

 private:
  DeviceArray<int8_t> bytes_;
  DeviceArray<int16_t> values_;
  DeviceArray<int32_t> multiplier_;
  DeviceArray<int8_t> shift_;
};

// In place on x [rows, channels]. Fastest for channels that are a multiple of 16 and at most 8192, x aligned to 16.
void gelu_rows(int8_t* x, int64_t rows, int64_t channels, const GeluRows& table, Stream stream);

// Tables of results for the scales of tokens, which the row maximum chooses.
class TokenTables {
 public:
  // From memory of the host, in the order of the values -128..127: token_scale is [256], tables are [scales, 256].
  TokenTables(const int8_t* token_scale, const int8_t* tables, int64_t scales);

  // On the device, by the bits of the row maximum and of the value; never more scales than there are.
  const uint8_t* scale_of_maximum() const { return scale_of_maximum_.get(); }
  const int8_t* bytes() const { return bytes_.get(); }

 private:
  DeviceArray<uint8_t> scale_of_maximum_;
  DeviceArray<int8_t> bytes_;
};

// In place on x [rows, channels]; chosen [rows] are the scales of the rows. Fastest as gelu_rows.
void token_gelu(int8_t* x, int64_t rows, int64_t channels, const TokenTables& tables, int32_t* chosen, Stream stream);

}  // namespace ivit::cuda
