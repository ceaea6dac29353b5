// IVitExecutionProvider: takes the nodes of domain ivit and compiles them.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>
#include <vector>

#include "ep/graph.h"
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

  // Claims every node of the domain, for compile() to fail with the reason.
  void refuse(const std::vector<Node>& nodes, std::string reason, OrtEpGraphSupportInfo* support);

  Options options_;
  bool on_gpu_;
  std::string refusal_;
};

}  // namespace ivit::ep
