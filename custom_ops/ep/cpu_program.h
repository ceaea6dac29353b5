// A plan on the CPU: kernels with packed parameters, run by a team of the session's threads.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "ep/plan.h"
#include "kernels/cpu/aligned.h"

namespace ivit::ep {

struct Tensor {
  std::vector<int64_t> shape;
  const void* data;
};

class CpuProgram {
 public:
  // Packs weights and copies all other parameters: the graph's own may be released afterwards.
  CpuProgram(Plan plan, int64_t threads);

  const Plan& plan() const { return plan_; }
  int64_t threads() const { return threads_; }

  // The shapes of the outputs, and all else that depends on those of the inputs.
  std::shared_ptr<const Layout> layout(const std::vector<Tensor>& inputs) const;

  // Several threads may run at the same time.
  void run(const Layout& layout, const std::vector<Tensor>& inputs, const std::vector<void*>& outputs,
           const cpu::Parallel& parallel) const;

  // Bytes of the copies of parameters that are not packed; for reports.
  int64_t parameter_bytes() const { return parameter_bytes_; }

 private:
  // What one run needs for itself. It is kept for the next run.
  struct Workspace {
    cpu::AlignedArray<uint8_t> arena;
    int64_t arena_bytes = 0;
  };

  std::unique_ptr<Workspace> take_workspace(const Layout& layout) const;
  void give_back(std::unique_ptr<Workspace> workspace) const;

  Plan plan_;
  int64_t threads_;
  std::vector<std::unique_ptr<ort::Kernel>> kernels_;
  std::vector<cpu::AlignedArray<uint8_t>> parameters_;
  int64_t parameter_bytes_ = 0;
  mutable std::shared_mutex layouts_mutex_;
  mutable std::vector<std::shared_ptr<const Layout>> layouts_;
  mutable std::mutex workspaces_mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> workspaces_;
};

}  // namespace ivit::ep
