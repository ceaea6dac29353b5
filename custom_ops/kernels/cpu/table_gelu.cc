// TableGELU: bytes through a table.
#include "kernels/cpu/table_gelu.h"

#include "kernels/cpu/variant.h"

namespace ivit::cpu {

void table_gelu(const Parallel& parallel, const int8_t* x, int64_t rows, int64_t channels, const ByBits& table,
                int8_t* y) {
  const Variant& variant = active_variant();
  for_row_ranges(parallel, rows, channels, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * channels;
    variant.look_up(reinterpret_cast<const uint8_t*>(x + first), (end - begin) * channels, table.get(), y + first);
  });
}

}  // namespace ivit::cpu
