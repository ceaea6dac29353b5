// The library's entry point: ONNX Runtime calls it for SessionOptions.register_custom_ops_library.
#include <onnxruntime_c_api.h>

#include <string>
#include <vector>

#include "kernels/cpu/variant.h"
#include "ort/custom_op.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

constexpr const char* kDomain = "ivit";

// The domain with all operators. It lives as long as the library, because sessions refer to it.
class Domain {
 public:
  Domain() {
    check(api().CreateCustomOpDomain(kDomain, &domain_));
    for (CustomOp& op : ops_) check(api().CustomOpDomain_Add(domain_, &op));
  }
  ~Domain() { api().ReleaseCustomOpDomain(domain_); }
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  OrtCustomOpDomain* get() const { return domain_; }

 private:
  OrtCustomOpDomain* domain_ = nullptr;
  std::vector<CustomOp> ops_ = custom_ops();
};

}  // namespace
}  // namespace ivit::ort

extern "C" __attribute__((visibility("default"))) OrtStatus* ORT_API_CALL
RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) noexcept {
  using namespace ivit::ort;
  if (OrtStatus* status = set_api_from(base)) return status;
  return guarded([&] {
    // A wrong IVIT_CPU is reported here, once, and not by every node.
    ivit::cpu::active_variant();
    static const Domain domain;
    check(api().AddCustomOpDomain(options, domain.get()));
  });
}
