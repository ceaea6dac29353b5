// The library's entry point: ONNX Runtime calls it for SessionOptions.register_custom_ops_library.
#include <onnxruntime_c_api.h>

#include "kernels/cpu/variant.h"
#include "ort/domain.h"
#include "ort/status.h"

extern "C" __attribute__((visibility("default"))) OrtStatus* ORT_API_CALL
RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) noexcept {
  using namespace ivit::ort;
  if (OrtStatus* status = set_api_from(base)) return status;
  return guarded([&] {
    // A wrong IVIT_CPU is reported here, once, and not by every node.
    ivit::cpu::active_variant();
    check(api().AddCustomOpDomain(options, domain()));
  });
}
