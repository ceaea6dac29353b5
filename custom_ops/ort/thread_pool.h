// The session's own thread pool, in the form in which kernels use threads.
#pragma once

#include <onnxruntime_c_api.h>

#include "kernels/cpu/parallel.h"

namespace ivit::ort {

class SessionThreadPool final : public cpu::Parallel {
 public:
  explicit SessionThreadPool(const OrtKernelContext* context) : context_(context) {}
  void run(int64_t count, const std::function<void(int64_t)>& task) const override;

 private:
  const OrtKernelContext* context_;
};

}  // namespace ivit::ort
