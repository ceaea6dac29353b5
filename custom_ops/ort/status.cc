// The border between exceptions, which the glue uses inside, and OrtStatus, which is all that may cross the C ABI.
#include "ort/status.h"

namespace ivit::ort {
namespace {

const OrtApi* global_api = nullptr;

}  // namespace

const OrtApi& api() { return *global_api; }

void set_api(const OrtApi* api) { global_api = api; }

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
