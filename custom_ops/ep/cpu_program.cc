#include "ep/cpu_program.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ep/stop.h"
#include "ep/team.h"

namespace ivit::ep {
namespace {

// The kernel has its own packed copy of it and never reads the graph's.
bool is_packed(const ort::TensorSpec& input) { return input.role == ort::Role::kPacked; }

// Bytes of a parameter.
int64_t byte_count(const ort::Call& call, size_t index) {
  const ort::TensorSpec& input = call.spec.inputs[index];
  if (call.inputs[index].scalar) return element_bytes(input.type);
  return element_bytes(input.type) * ort::element_count(call.dims.shape(input.shape));
}

}  // namespace

CpuProgram::CpuProgram(Plan plan, const Options& options) : Program(std::move(plan), options) {
  for (Step& step : plan_.steps()) {
    ort::Call& call = step.call;
    const ort::OperatorSpec& spec = call.spec;
    // Copies before kernels: a kernel may keep pointers to parameters.
    for (size_t index = 0; index < spec.inputs.size(); ++index) {
      const ort::TensorSpec& input = spec.inputs[index];
      if (!call.is_constant(index) || is_packed(input)) continue;
      const int64_t bytes = byte_count(call, index);
      cpu::AlignedArray<uint8_t>& copy = parameters_.emplace_back(bytes);
      if (bytes > 0) std::memcpy(copy.get(), call.inputs[index].data, static_cast<size_t>(bytes));
      call.inputs[index].data = copy.get();
      call.inputs[index].copy = nullptr;
      memory_.parameters += bytes;
    }
    const int64_t before = cpu::allocated_bytes;
    kernels_.push_back(spec.create(call));
    memory_.packed += cpu::allocated_bytes - before;
    for (size_t index = 0; index < spec.inputs.size(); ++index) {
      if (call.is_constant(index) && is_packed(spec.inputs[index])) call.inputs[index].data = nullptr;
    }
    step.parameters.clear();
  }
}

std::unique_ptr<CpuProgram::Workspace> CpuProgram::take_workspace(const std::shared_ptr<const Layout>& layout) const {
  std::unique_ptr<Workspace> workspace;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!workspaces_.empty()) {
      workspace = std::move(workspaces_.back());
      workspaces_.pop_back();
    }
  }
  if (workspace == nullptr) workspace = std::make_unique<Workspace>();
  if (workspace->bytes < layout->arena.bytes) {
    workspace->arena = {};
    workspace->arena = cpu::AlignedArray<uint8_t>(layout->arena.bytes);
    workspace->bytes = layout->arena.bytes;
    log_arena(*layout, 0);
  }
  if (workspace->layout != layout) {
    std::vector<ort::Call>(layout->calls).swap(workspace->calls);
    workspace->layout = layout;
  }
  return workspace;
}

void CpuProgram::give_back(std::unique_ptr<Workspace> workspace) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  workspaces_.push_back(std::move(workspace));
}

void CpuProgram::run(const OrtKernelContext* context, const std::shared_ptr<const Layout>& layout,
                     const std::vector<Tensor>& inputs, const std::vector<void*>& outputs) const {
  std::unique_ptr<Workspace> workspace = take_workspace(layout);
  Stop stop;
  const auto wanted = [&] { return stop.wanted(); };
  run_with_team(context, options_.threads, wanted, [&](const cpu::Parallel& team) {
    const auto address = [&](size_t value) {
      return address_of(plan_.values()[value], *layout, inputs, outputs, workspace->arena.get());
    };
    for (size_t number = 0; number < plan_.steps().size(); ++number) {
      if (layout->idle[number]) continue;
      const Step& step = plan_.steps()[number];
      ort::Call& call = workspace->calls[number];
      for (const Step::Activation& input : step.inputs) call.inputs[input.input].data = address(input.value);
      for (size_t i = 0; i < step.outputs.size(); ++i) call.outputs[i] = address(step.outputs[i]);
      const Profile::Timer timer(profile_.get(), number);
      kernels_[number]->compute(call, team);
    }
  });
  give_back(std::move(workspace));
}

}  // namespace ivit::ep
