// A deferred softmax with its exponentials on the device.
#pragma once

#include <cstdint>

#include "kernels/common/deferred.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

class DeviceDeferred {
 public:
  explicit DeviceDeferred(const DeferredSoftmax& softmax);
  // Its exponentials need not be there any more.
  const DeferredSoftmax& host() const { return host_; }
  // [256], of attention::deferred_entry().
  const uint32_t* exponentials() const { return exponentials_.get(); }

 private:
  DeferredSoftmax host_;
  DeviceArray<uint32_t> exponentials_;
};

}  // namespace ivit::cuda
