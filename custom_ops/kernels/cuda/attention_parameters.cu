// Parameters of an attention.
#include "kernels/common/shift_exp.h"
#include "kernels/cuda/attention_parameters.h"

namespace ivit::cuda {

std::vector<int32_t> exponentials_by_distance(int64_t x0, int64_t n) {
  std::vector<int32_t> exponentials;
  for (int32_t distance = 0; distance < 256; ++distance) exponentials.push_back(shift_exp(-distance, x0, n));
  return exponentials;
}

}  // namespace ivit::cuda
