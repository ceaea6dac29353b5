#include <vector>

#include "kernels/cuda/attention_deferred.h"
#include "kernels/cuda/device_deferred.h"

namespace ivit::cuda {
namespace {

std::vector<uint32_t> entries(const DeferredSoftmax& softmax) {
  std::vector<uint32_t> all;
  for (int i = 0; i < kDeferredEntries; ++i) {
    all.push_back(attention::deferred_entry(softmax.exponentials[i], softmax.level_bits));
  }
  return all;
}

}  // namespace

DeviceDeferred::DeviceDeferred(const DeferredSoftmax& softmax) : host_(softmax), exponentials_(entries(softmax)) {
  host_.exponentials = nullptr;
}

}  // namespace ivit::cuda
