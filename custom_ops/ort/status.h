// The border between exceptions, which the glue uses inside, and OrtStatus, which is all that may cross the C ABI.
#pragma once

#include <onnxruntime_c_api.h>

#include <stdexcept>
#include <string>

namespace ivit::ort {

// A call that does not fit the operator's contract; the message says operator, expected and found.
class InvalidArgument : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A call into ONNX Runtime failed.
class RuntimeFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// ONNX Runtime's functions; set once, when the library is registered.
const OrtApi& api();
// Null, or a status that says that this ONNX Runtime is too old.
OrtStatus* set_api_from(const OrtApiBase* base) noexcept;

// Throws RuntimeFailure for a status that is not null, and releases it.
void check(OrtStatus* status);

// The status for the exception in flight; call inside a catch block.
OrtStatus* current_exception_status() noexcept;

// Runs `body`, turning exceptions into statuses.
template <class Body>
OrtStatus* guarded(Body body) noexcept {
  try {
    body();
    return nullptr;
  } catch (...) {
    return current_exception_status();
  }
}

}  // namespace ivit::ort
