// The border between exceptions, which the glue uses inside, and OrtStatus, which is all that may cross the C ABI.
#include "ort/status.h"

#include <string>

namespace ivit::ort {
namespace {

const OrtApi* global_api = nullptr;

}  // namespace

const OrtApi& api() { return *global_api; }

OrtStatus* set_api_from(const OrtApiBase* base) noexcept {
  const OrtApi* found = base->GetApi(ORT_API_VERSION);
  if (found != nullptr) {
    global_api = found;
    return nullptr;
  }
  const std::string message = std::string("ivit: this library needs ONNX Runtime 1.") +
                              std::to_string(ORT_API_VERSION) + " or newer, found " + base->GetVersionString();
  // Version 1 of the interface is in every release, and its first functions make statuses.
  return base->GetApi(1)->CreateStatus(ORT_FAIL, message.c_str());
}

void check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = api().GetErrorMessage(status);
  api().ReleaseStatus(status);
  throw RuntimeFailure(message);
}

OrtStatus* current_exception_status() noexcept {
  try {
    throw;
  } catch (const InvalidArgument& error) {
    return api().CreateStatus(ORT_INVALID_ARGUMENT, error.what());
  } catch (const std::exception& error) {
    return api().CreateStatus(ORT_FAIL, error.what());
  } catch (...) {
    return api().CreateStatus(ORT_FAIL, "ivit: unknown exception");
  }
}

}  // namespace ivit::ort
