#include "ep/cuda/cuda_program.h"

#include <algorithm>
#include <utility>

#include "ep/cuda/standard.h"
#include "kernels/common/integer.h"
#include "kernels/cuda/allocated.h"

namespace ivit::ep {
namespace {

using DeviceBytes = cuda::DeviceArray<uint8_t>;

// Layouts of one workspace whose buffers and recordings are kept.
constexpr size_t kMostBuffers = 16;

int64_t byte_count(const ort::TensorSpec& tensor, const std::vector<int64_t>& shape) {
  return element_bytes(tensor.type) * ort::element_count(shape);
}

std::unique_ptr<ort::CudaKernel> make_kernel(const ort::Call& call) {
  if (std::unique_ptr<ort::CudaKernel> kernel = create_standard_cuda(call)) return kernel;
  return ort::create_cuda_kernel_for(call);
}

}  // namespace

// Memory for one layout: activations, scratch memory of kernels, and, for a recording, copies of inputs and outputs,
// because what is recorded keeps its addresses.
struct CudaProgram::Buffers {
  std::shared_ptr<const Layout> layout;
  DeviceBytes arena;
  DeviceBytes scratch;
  std::vector<DeviceBytes> inputs;
  std::vector<DeviceBytes> outputs;
  cuda::Graph graph;
};

struct CudaProgram::Workspace {
  cuda::OwnStream stream;
  std::vector<std::unique_ptr<Buffers>> buffers;
};

CudaProgram::CudaProgram(Plan plan, const Options& options) : Program(std::move(plan), options) {
  const cuda::CurrentDevice device(options_.device_id);
  const size_t before = cuda::allocated_bytes();
  for (Step& step : plan_.steps()) {
    kernels_.push_back(make_kernel(step.call));
    // The kernel has them on the device; those of the graph will be released.
    for (size_t index = 0; index < step.call.spec.inputs.size(); ++index) step.call.inputs[index].data = nullptr;
    step.parameters.clear();
  }
  memory_.packed = static_cast<int64_t>(cuda::allocated_bytes() - before);
}

CudaProgram::~CudaProgram() = default;

std::unique_ptr<CudaProgram::Workspace> CudaProgram::take_workspace() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!workspaces_.empty()) {
      std::unique_ptr<Workspace> workspace = std::move(workspaces_.back());
      workspaces_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<Workspace>();
}

void CudaProgram::give_back(std::unique_ptr<Workspace> workspace) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  workspaces_.push_back(std::move(workspace));
}

void CudaProgram::enqueue(const Layout& layout, const std::vector<Tensor>& inputs, const std::vector<void*>& outputs,
                          const Buffers& buffers, cuda::Stream stream) const {
  const auto address = [&](size_t value) {
    return address_of(plan_.values()[value], layout, inputs, outputs, const_cast<uint8_t*>(buffers.arena.get()));
  };
  for (size_t number = 0; number < plan_.steps().size(); ++number) {
    if (layout.idle[number]) continue;
    const Step& step = plan_.steps()[number];
    ort::Call call = layout.calls[number];
    for (const Step::Activation& input : step.inputs) call.inputs[input.input].data = address(input.value);
    for (size_t i = 0; i < step.outputs.size(); ++i) call.outputs[i] = address(step.outputs[i]);
    const ort::CudaRun run{stream, const_cast<uint8_t*>(buffers.scratch.get())};
    const Profile::Timer timer(profile_.get(), number);
    kernels_[number]->compute(call, run);
    if (profile_ != nullptr) cuda::synchronize(stream);
  }
}

std::unique_ptr<CudaProgram::Buffers> CudaProgram::make_buffers(const std::shared_ptr<const Layout>& layout,
                                                                cuda::Stream stream) const {
  auto buffers = std::make_unique<Buffers>();
  buffers->layout = layout;
  buffers->arena = DeviceBytes(static_cast<size_t>(layout->arena.bytes));
  size_t scratch = 0;
  for (size_t number = 0; number < kernels_.size(); ++number) {
    if (!layout->idle[number]) scratch = std::max(scratch, kernels_[number]->scratch_bytes(layout->calls[number]));
  }
  buffers->scratch = DeviceBytes(scratch);
  log_arena(*layout, static_cast<int64_t>(scratch));
  if (!record()) return buffers;
  std::vector<Tensor> inputs;
  std::vector<void*> outputs;
  std::vector<int64_t> input_bytes(plan_.inputs().size());
  std::vector<int64_t> output_bytes(plan_.outputs().size());
  for (size_t number = 0; number < plan_.steps().size(); ++number) {
    const Step& step = plan_.steps()[number];
    const ort::OperatorSpec& spec = step.call.spec;
    for (const Step::Activation& input : step.inputs) {
      const Value& value = plan_.values()[input.value];
      if (value.home != Value::Home::kInput) continue;
      input_bytes[value.index] = byte_count(spec.inputs[input.input], layout->input_shapes[value.index]);
    }
    for (size_t output = 0; output < step.outputs.size(); ++output) {
      const Value& value = plan_.values()[step.outputs[output]];
      if (value.home != Value::Home::kOutput) continue;
      output_bytes[value.index] = byte_count(spec.outputs[output], layout->output_shapes[value.index]);
    }
  }
  for (size_t i = 0; i < input_bytes.size(); ++i) {
    buffers->inputs.emplace_back(static_cast<size_t>(input_bytes[i]));
    inputs.push_back({layout->input_shapes[i], buffers->inputs.back().get()});
  }
  for (const int64_t bytes : output_bytes) {
    outputs.push_back(buffers->outputs.emplace_back(static_cast<size_t>(bytes)).get());
  }
  buffers->graph.record(stream, [this, inputs, outputs, stream, owned = buffers.get()] {
    enqueue(*owned->layout, inputs, outputs, *owned, stream);
  });
  return buffers;
}

CudaProgram::Buffers& CudaProgram::buffers_of(Workspace& workspace, const std::shared_ptr<const Layout>& layout) const {
  auto& all = workspace.buffers;
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& known) { return known->layout == layout; });
  if (found != all.end()) return **found;
  if (all.size() >= kMostBuffers) all.erase(all.begin());
  return *all.emplace_back(make_buffers(layout, workspace.stream.get()));
}

void CudaProgram::reserve(const std::shared_ptr<const Layout>& layout) const {
  const cuda::CurrentDevice device(options_.device_id);
  std::unique_ptr<Workspace> workspace = take_workspace();
  buffers_of(*workspace, layout);
  give_back(std::move(workspace));
}

void CudaProgram::run(const OrtKernelContext*, const std::shared_ptr<const Layout>& layout,
                      const std::vector<Tensor>& inputs, const std::vector<void*>& outputs) const {
  const cuda::CurrentDevice device(options_.device_id);
  std::unique_ptr<Workspace> workspace = take_workspace();
  const cuda::Stream stream = workspace->stream.get();
  Buffers& buffers = buffers_of(*workspace, layout);
  if (record()) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      cuda::copy_on_device(buffers.inputs[i].get(), inputs[i].data, buffers.inputs[i].size(), stream);
    }
    buffers.graph.launch(stream);
    for (size_t i = 0; i < outputs.size(); ++i) {
      cuda::copy_on_device(outputs[i], buffers.outputs[i].get(), buffers.outputs[i].size(), stream);
    }
  } else {
    enqueue(*layout, inputs, outputs, buffers, stream);
  }
  cuda::synchronize(stream);
  give_back(std::move(workspace));
}

}  // namespace ivit::ep
