// IVitExecutionProvider: takes the nodes of domain ivit and compiles them.
#pragma once

#include <onnxruntime_c_api.h>

#include "ep/options.h"

namespace ivit::ep {

constexpr const char* kProviderName = "IVitExecutionProvider";

class Provider final : public OrtEp {
 public:
  // On GPU options.device_id, or on the CPU.
  Provider(const Options& options, bool on_gpu);

 private:
  static OrtStatus* ORT_API_CALL get_capability(OrtEp* self, const OrtGraph* graph,
                                                OrtEpGraphSupportInfo* support) noexcept;
  static OrtStatus* ORT_API_CALL compile(OrtEp* self, const OrtGraph** graphs, const OrtNode** fused_nodes,
                                         size_t count, OrtNodeComputeInfo** infos, OrtNode** context_nodes) noexcept;

  Options options_;
  bool on_gpu_;
};

}  // namespace ivit::ep
