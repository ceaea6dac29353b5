#include "ep/provider.h"

#ifdef __linux__
#include <malloc.h>
#endif

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ep/cpu_program.h"
#include "ep/flat/raise.h"
#include "ep/gpu.h"
#include "ep/graph.h"
#include "ep/stop.h"
#include "ort/binding.h"
#include "ort/domain.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::guarded;

// ONNX Runtime has released the parameters by the time the compiled graph is put to use, but the C library keeps freed
// memory for itself unless it is told otherwise. A model's weights are worth telling.
void give_memory_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// A compiled graph, as ONNX Runtime runs it.
class CompiledGraph final : public OrtNodeComputeInfo {
 public:
  // `inputs` and `outputs` are the names in the order in which runs get and give them.
  CompiledGraph(std::unique_ptr<Program> program, const std::vector<std::string>& inputs,
                const std::vector<std::string>& outputs)
      : OrtNodeComputeInfo{}, program_(std::move(program)) {
    ort_version_supported = ORT_API_VERSION;
    CreateState = [](OrtNodeComputeInfo* self, OrtNodeComputeContext*, void** state) noexcept -> OrtStatus* {
      give_memory_back();
      *state = self;
      return nullptr;
    };
    Compute = compute;
    ReleaseState = [](OrtNodeComputeInfo*, void*) noexcept {};
    for (const std::string& name : program_->plan().inputs()) input_places_.push_back(place(inputs, name));
    for (const std::string& name : program_->plan().outputs()) output_places_.push_back(place(outputs, name));
  }

 private:
  static size_t place(const std::vector<std::string>& names, const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) throw ort::InvalidArgument("ivit: the compiled graph lacks the value " + name);
    return static_cast<size_t>(found - names.begin());
  }

  static OrtStatus* ORT_API_CALL compute(OrtNodeComputeInfo* self, void*, OrtKernelContext* context) noexcept {
    return guarded([&] { static_cast<CompiledGraph*>(self)->run(context); });
  }

  void run(OrtKernelContext* context) const {
    std::vector<Tensor> inputs;
    for (const size_t index : input_places_) {
      const OrtValue* value = nullptr;
      check(api().KernelContext_GetInput(context, index, &value));
      inputs.push_back({ort::shape_of(value), ort::data_of(value)});
    }
    const std::shared_ptr<const Layout> layout = program_->layout(inputs);
    std::vector<void*> outputs;
    for (size_t i = 0; i < output_places_.size(); ++i) {
      const std::vector<int64_t>& shape = layout->output_shapes[i];
      OrtValue* value = nullptr;
      check(api().KernelContext_GetOutput(context, output_places_[i], shape.data(), shape.size(), &value));
      void* data = nullptr;
      check(api().GetTensorMutableData(value, &data));
      outputs.push_back(data);
    }
    if (layout->empty) return;
    program_->run(context, layout, inputs, outputs);
  }

  std::unique_ptr<Program> program_;
  std::vector<size_t> input_places_;
  std::vector<size_t> output_places_;
};

void log_memory(const Program& program) {
  const Program::Memory& memory = program.memory();
  log("memory: " + std::to_string(memory.packed) + " bytes of packed weights and tables, " +
      std::to_string(memory.parameters) + " of other parameters; " + std::to_string(program.plan().constant_bytes()) +
      " bytes of constants are dropped");
}

// Takes memory for the largest batch, if it is promised and all other dimensions of the inputs are known.
void reserve(const Program& program, const OrtGraph* graph, int64_t max_batch) {
  if (max_batch == 0) return;
  std::vector<Tensor> inputs;
  for (const OrtValueInfo* value : graph_inputs(graph)) {
    if (is_constant(value)) continue;
    std::vector<int64_t> shape = shape_of(value);
    if (!shape.empty() && shape[0] < 0) shape[0] = max_batch;
    if (std::find(shape.begin(), shape.end(), -1) != shape.end()) return;
    inputs.push_back({shape, nullptr});
  }
  const std::shared_ptr<const Layout> layout = program.layout(inputs);
  try {
    program.reserve(layout);
  } catch (const std::bad_alloc&) {
    throw ort::InvalidArgument(
        "ivit: provider option max_batch: expected a batch whose activations fit into memory, "
        "found " +
        std::to_string(max_batch) + ", whose activations take " + std::to_string(layout->arena.bytes) + " bytes");
  }
}

bool is_assigned_elsewhere(const Node& node) {
  const char* name = nullptr;
  check(api().Node_GetEpName(node.handle, &name));
  return name != nullptr && *name != '\0' && std::string(name) != kProviderName;
}

// Consecutive nodes of a topological order, which can always be one node: nothing outside stands between them.
struct Run {
  size_t first;
  size_t last;  // behind it
};

std::vector<Run> runs_of(const flat::Cover& cover) {
  std::vector<Run> runs;
  for (size_t node = 0; node < cover.taken.size(); ++node) {
    if (!cover.taken[node]) continue;
    if (node > 0 && cover.taken[node - 1]) {
      runs.back().last = node + 1;
    } else {
      runs.push_back({node, node + 1});
    }
  }
  return runs;
}

// Whether the nodes are operations without the rest of the graph too, as they are when they are compiled.
bool compiles(const flat::Source& source, const Run& run, const std::vector<std::string>& graph_outputs) {
  std::vector<Node> nodes(source.nodes().begin() + static_cast<std::ptrdiff_t>(run.first),
                          source.nodes().begin() + static_cast<std::ptrdiff_t>(run.last));
  std::vector<std::string> outputs;
  for (size_t node = run.first; node < run.last; ++node) {
    for (const size_t number : source.outputs(node)) {
      if (number == flat::Source::kNone) continue;
      const flat::Source::Value& value = source.values()[number];
      const bool read = std::any_of(value.readers.begin(), value.readers.end(),
                                    [&](size_t reader) { return reader < run.first || reader >= run.last; });
      const bool given = std::find(graph_outputs.begin(), graph_outputs.end(), value.name) != graph_outputs.end();
      if (read || given) outputs.push_back(value.name);
    }
  }
  const flat::Cover cover = flat::cover(flat::Source(std::move(nodes)), outputs);
  return std::find(cover.taken.begin(), cover.taken.end(), false) == cover.taken.end();
}

}  // namespace

Provider::Provider(const Options& options, bool on_gpu) : OrtEp{}, options_(options), on_gpu_(on_gpu) {
  ort_version_supported = ORT_API_VERSION;
  GetName = [](const OrtEp*) noexcept { return kProviderName; };
  GetCapability = get_capability;
  Compile = compile;
  ReleaseNodeComputeInfos = [](OrtEp*, OrtNodeComputeInfo** infos, size_t count) noexcept {
    for (size_t i = 0; i < count; ++i) delete static_cast<CompiledGraph*>(infos[i]);
  };
  OnRunStart = [](OrtEp*, const OrtRunOptions* run_options) noexcept -> OrtStatus* {
    Stop::set_run_options(run_options);
    return nullptr;
  };
  OnRunEnd = [](OrtEp*, const OrtRunOptions*, bool) noexcept -> OrtStatus* {
    Stop::set_run_options(nullptr);
    return nullptr;
  };
}

OrtStatus* ORT_API_CALL Provider::get_capability(OrtEp* self, const OrtGraph* graph,
                                                 OrtEpGraphSupportInfo* support) noexcept {
  return guarded([&] {
    std::vector<Node> nodes = read_nodes(graph);
    // A graph without them has the domain in the latest version that ONNX Runtime can think of.
    const bool any =
        std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.domain == ort::kDomain; });
    if (std::string reason = other_domain_version(graph); any && !reason.empty()) {
      return static_cast<Provider*>(self)->refuse(nodes, std::move(reason), support);
    }
    for (Node& node : nodes) {
      if (is_assigned_elsewhere(node)) node.left_because = "another provider has it";
    }
    const flat::Source source(std::move(nodes));
    const std::vector<std::string> outputs = value_names(graph_outputs(graph));
    flat::Cover cover = flat::cover(source, outputs);
    std::vector<Run> runs = runs_of(cover);
    if (!std::all_of(runs.begin(), runs.end(), [&](const Run& run) { return compiles(source, run, outputs); })) {
      cover = flat::cover(source, outputs, false);
      runs = runs_of(cover);
    }
    for (const Run& run : runs) {
      std::vector<const OrtNode*> handles;
      for (size_t node = run.first; node < run.last; ++node) handles.push_back(source.nodes()[node].handle);
      OrtNodeFusionOptions fusion{};
      fusion.ort_version_supported = ORT_API_VERSION;
      fusion.drop_constant_initializers = true;
      check(api().GetEpApi()->EpGraphSupportInfo_AddNodesToFuse(support, handles.data(), handles.size(), &fusion));
      log("takes " + std::to_string(handles.size()) + " nodes");
    }
    for (size_t node = 0; node < source.nodes().size(); ++node) {
      if (!cover.taken[node]) log("leaves " + source.nodes()[node].describe() + ": " + cover.reasons[node]);
    }
  });
}

// Nodes that are left run on the library's operators, which are told no version, and ONNX Runtime goes on without a
// provider whose get_capability fails: only compile() ends a session.
void Provider::refuse(const std::vector<Node>& nodes, std::string reason, OrtEpGraphSupportInfo* support) {
  refusal_ = std::move(reason);
  for (const Node& node : nodes) {
    if (node.domain != ort::kDomain) continue;
    OrtNodeFusionOptions fusion{};
    fusion.ort_version_supported = ORT_API_VERSION;
    check(api().GetEpApi()->EpGraphSupportInfo_AddNodesToFuse(support, &node.handle, 1, &fusion));
  }
}

OrtStatus* ORT_API_CALL Provider::compile(OrtEp* self, const OrtGraph** graphs, const OrtNode** fused_nodes,
                                          size_t count, OrtNodeComputeInfo** infos, OrtNode**) noexcept {
  return guarded([&] {
    const Provider& provider = *static_cast<const Provider*>(self);
    if (!provider.refusal_.empty()) throw ort::InvalidArgument(provider.refusal_);
    std::vector<std::unique_ptr<CompiledGraph>> compiled;
    for (size_t i = 0; i < count; ++i) {
      const Node fused = read_node(fused_nodes[i]);
      Plan plan(graphs[i]);
      log("compiles " + std::to_string(plan.steps().size()) + " operators for the " +
          (provider.on_gpu_ ? "GPU" : "CPU"));
      std::unique_ptr<Program> program = provider.on_gpu_
                                             ? gpu()->compile(std::move(plan), provider.options_)
                                             : std::make_unique<CpuProgram>(std::move(plan), provider.options_);
      log_memory(*program);
      reserve(*program, graphs[i], provider.options_.max_batch);
      compiled.push_back(
          std::make_unique<CompiledGraph>(std::move(program), value_names(fused.inputs), value_names(fused.outputs)));
    }
    for (size_t i = 0; i < count; ++i) infos[i] = compiled[i].release();
  });
}

}  // namespace ivit::ep
