// Tables of 256 bytes of which each row takes one, by its largest value.
#pragma once

#include <cstdint>

namespace ivit::cpu {

struct RowTables {
  const int8_t* table(uint8_t number) const { return values + 256 * number; }

  // The number of a row's table stands at static_cast<uint8_t>(its largest value).
  const uint8_t* numbers = nullptr;
  // Table after table; the result of a value stands at static_cast<uint8_t>(value).
  const int8_t* values = nullptr;
};

}  // namespace ivit::cpu
