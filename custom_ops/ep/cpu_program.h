// A plan on the CPU: kernels with packed parameters, run by a team of the session's threads.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "ep/program.h"
#include "kernels/cpu/aligned.h"

namespace ivit::ep {

class CpuProgram final : public Program {
 public:
  // Packs weights and copies all other parameters: the graph's own may be released afterwards.
  CpuProgram(Plan plan, const Options& options);

  void reserve(const std::shared_ptr<const Layout>& layout) const override { give_back(take_workspace(layout)); }

  void run(const OrtKernelContext* context, const std::shared_ptr<const Layout>& layout,
           const std::vector<Tensor>& inputs, const std::vector<void*>& outputs) const override;

 private:
  // What a run has for itself. It is kept for the next run.
  struct Workspace {
    cpu::AlignedArray<uint8_t> arena;
    int64_t bytes = 0;
    // Those of the layout it was last used with; copying them is most of what a run costs besides its kernels.
    std::shared_ptr<const Layout> layout;
    std::vector<ort::Call> calls;
  };

  std::unique_ptr<Workspace> take_workspace(const std::shared_ptr<const Layout>& layout) const;
  void give_back(std::unique_ptr<Workspace> workspace) const;

  std::vector<std::unique_ptr<ort::Kernel>> kernels_;
  std::vector<cpu::AlignedArray<uint8_t>> parameters_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> workspaces_;
};

}  // namespace ivit::ep
