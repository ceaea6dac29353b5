#include "ep/cpu_program.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ivit::ep {
namespace {

// Layouts that are kept; a service with ever new batch sizes makes them anew.
constexpr size_t kMostLayouts = 128;

// A matrix of weights: the kernel has its own packed copy of it and never reads the graph's.
bool is_packed(const ort::TensorSpec& input) {
  return input.type == ort::kInt8 && *input.shape != '?' && std::strlen(input.shape) == 2;
}

// Bytes of a parameter.
int64_t byte_count(const ort::Call& call, size_t index) {
  const ort::TensorSpec& input = call.spec.inputs[index];
  if (call.inputs[index].scalar) return element_bytes(input.type);
  const char* pattern = *input.shape == '?' ? input.shape + 1 : input.shape;
  int64_t bytes = element_bytes(input.type);
  for (const int64_t dim : call.dims.shape(pattern)) bytes *= dim;
  return bytes;
}

bool same_shapes(const Layout& layout, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (layout.input_shapes[i] != inputs[i].shape) return false;
  }
  return true;
}

}  // namespace

CpuProgram::CpuProgram(Plan plan, int64_t threads) : plan_(std::move(plan)), threads_(threads) {
  for (Step& step : plan_.steps()) {
    ort::Call& call = step.call;
    const ort::OperatorSpec& spec = call.spec;
    // Copies before kernels: a kernel may keep pointers to parameters.
    for (size_t index = 0; index < spec.inputs.size(); ++index) {
      const ort::TensorSpec& input = spec.inputs[index];
      if (!call.is_constant(index) || is_packed(input)) continue;
      const int64_t bytes = byte_count(call, index);
      cpu::AlignedArray<uint8_t>& copy = parameters_.emplace_back(bytes);
      std::memcpy(copy.get(), call.inputs[index].data, static_cast<size_t>(bytes));
      call.inputs[index].data = copy.get();
      parameter_bytes_ += bytes;
    }
    kernels_.push_back(spec.create(call));
    for (size_t index = 0; index < spec.inputs.size(); ++index) {
      if (call.is_constant(index) && is_packed(spec.inputs[index])) call.inputs[index].data = nullptr;
    }
  }
}

std::shared_ptr<const Layout> CpuProgram::layout(const std::vector<Tensor>& inputs) const {
  {
    const std::shared_lock<std::shared_mutex> lock(layouts_mutex_);
    for (const auto& known : layouts_) {
      if (same_shapes(*known, inputs)) return known;
    }
  }
  std::vector<std::vector<int64_t>> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape);
  auto made = std::make_shared<const Layout>(plan_.layout(shapes));
  const std::unique_lock<std::shared_mutex> lock(layouts_mutex_);
  if (layouts_.size() >= kMostLayouts) layouts_.erase(layouts_.begin());
  layouts_.push_back(made);
  return made;
}

std::unique_ptr<CpuProgram::Workspace> CpuProgram::take_workspace(const Layout& layout) const {
  std::unique_ptr<Workspace> workspace;
  {
    const std::lock_guard<std::mutex> lock(workspaces_mutex_);
    if (!workspaces_.empty()) {
      workspace = std::move(workspaces_.back());
      workspaces_.pop_back();
    }
  }
  if (workspace == nullptr) workspace = std::make_unique<Workspace>();
  if (workspace->arena_bytes < layout.arena.bytes) {
    workspace->arena = cpu::AlignedArray<uint8_t>(layout.arena.bytes);
    workspace->arena_bytes = layout.arena.bytes;
  }
  return workspace;
}

void CpuProgram::give_back(std::unique_ptr<Workspace> workspace) const {
  const std::lock_guard<std::mutex> lock(workspaces_mutex_);
  workspaces_.push_back(std::move(workspace));
}

void CpuProgram::run(const Layout& layout, const std::vector<Tensor>& inputs, const std::vector<void*>& outputs,
                     const cpu::Parallel& parallel) const {
  std::unique_ptr<Workspace> workspace = take_workspace(layout);
  uint8_t* const arena = workspace->arena.get();
  const std::vector<Value>& values = plan_.values();
  const auto address = [&](size_t value) -> void* {
    const size_t index = values[value].index;
    switch (values[value].home) {
      case Value::Home::kInput:
        return const_cast<void*>(inputs[index].data);
      case Value::Home::kOutput:
        return outputs[index];
      default:
        return arena + layout.arena.offsets[index];
    }
  };
  for (size_t number = 0; number < plan_.steps().size(); ++number) {
    const Step& step = plan_.steps()[number];
    ort::Call call = layout.calls[number];
    for (const Step::Activation& input : step.inputs) call.inputs[input.input].data = address(input.value);
    if (step.outputs.size() > 1) call.second_output = address(step.outputs[1]);
    kernels_[number]->compute(call, parallel, address(step.outputs[0]));
  }
  give_back(std::move(workspace));
}

}  // namespace ivit::ep
