// A plan on a GPU: kernels with parameters on the device, recorded once for each layout as a CUDA graph.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "ep/options.h"
#include "ep/program.h"
#include "ort/cuda/cuda_kernel.h"

namespace ivit::ep {

class CudaProgram final : public Program {
 public:
  CudaProgram(Plan plan, const Options& options);
  ~CudaProgram() override;

  void reserve(const std::shared_ptr<const Layout>& layout) const override;

  // Returns when the outputs are there.
  void run(const OrtKernelContext* context, const std::shared_ptr<const Layout>& layout,
           const std::vector<Tensor>& inputs, const std::vector<void*>& outputs) const override;

 private:
  struct Buffers;
  struct Workspace;

  std::unique_ptr<Workspace> take_workspace() const;
  void give_back(std::unique_ptr<Workspace> workspace) const;
  void enqueue(const Layout& layout, const std::vector<Tensor>& inputs, const std::vector<void*>& outputs,
               const Buffers& buffers, cuda::Stream stream) const;
  Buffers& buffers_of(Workspace& workspace, const std::shared_ptr<const Layout>& layout) const;
  std::unique_ptr<Buffers> make_buffers(const std::shared_ptr<const Layout>& layout, cuda::Stream stream) const;

  // Whether runs are recorded; a profile wants the steps one by one.
  bool record() const { return options_.cuda_graph && profile_ == nullptr; }

  std::vector<std::unique_ptr<ort::CudaKernel>> kernels_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> workspaces_;
};

}  // namespace ivit::ep
