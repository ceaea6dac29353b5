#include <vector>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/look_up.h"
#include "kernels/cuda/table_gelu.h"

namespace ivit::cuda {
namespace {

// Sixteen values at a time, and then those that are left. Shared memory: the table.
template <bool kVectors>
__global__ void __launch_bounds__(kElementThreads)
    look_up_elements(const uint8_t* x, int64_t count, const uint8_t* table, uint8_t* y) {
  uint8_t* const results = shared_memory<uint8_t>();
  results[threadIdx.x] = table[threadIdx.x];
  __syncthreads();
  const int64_t vectors = kVectors ? count / 16 : 0;
  for (int64_t i = first_element(); i < vectors; i += element_stride()) {
    look_up_to(reinterpret_cast<const uint4*>(x)[i], results, y + 16 * i);
  }
  for (int64_t i = 16 * vectors + first_element(); i < count; i += element_stride()) y[i] = results[x[i]];
}

std::vector<uint8_t> by_bits(const int8_t* table) {
  std::vector<uint8_t> values;
  for (int i = 0; i < 256; ++i) values.push_back(static_cast<uint8_t>(table[(i + 128) % 256]));
  return values;
}

}  // namespace

GeluTable::GeluTable(const int8_t* table) : table_(by_bits(table)) {}

void table_gelu(const int8_t* x, int64_t count, const GeluTable& table, int8_t* y, Stream stream) {
  static_assert(kElementThreads == 256, "a thread for each entry of the table");
  const bool vectors = is_aligned(x, 16) && is_aligned(y, 16);
  Launch where = elementwise_launch(vectors ? divide_up(count, 16) : count, stream);
  where.shared_bytes = 256;
  launch(vectors ? look_up_elements<true> : look_up_elements<false>, where, reinterpret_cast<const uint8_t*>(x), count,
         table.get(), reinterpret_cast<uint8_t*>(y));
}

}  // namespace ivit::cuda
