// A plan that can be run on some device.
#pragma once

#include <memory>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "ep/options.h"
#include "ep/plan.h"
#include "ep/profile.h"

namespace ivit::ep {

struct Tensor {
  std::vector<int64_t> shape;
  const void* data;
};

class Program {
 public:
  Program(Plan plan, const Options& options);
  virtual ~Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Bytes that the program has for itself as long as it lives, on its device.
  struct Memory {
    // What kernels made of weights and other parameters when they were created.
    int64_t packed = 0;
    // Parameters as they were.
    int64_t parameters = 0;
  };

  const Plan& plan() const { return plan_; }
  const Memory& memory() const { return memory_; }

  // The shapes of the outputs, and all else that depends on those of the inputs. Throws InvalidArgument if they do not
  // fit.
  std::shared_ptr<const Layout> layout(const std::vector<Tensor>& inputs) const;

  // Takes the memory that a run with this layout needs.
  virtual void reserve(const std::shared_ptr<const Layout>& layout) const = 0;

  // Computes the outputs, in memory of the program's device like the inputs. Several threads may run at the same time.
  virtual void run(const OrtKernelContext* context, const std::shared_ptr<const Layout>& layout,
                   const std::vector<Tensor>& inputs, const std::vector<void*>& outputs) const = 0;

 protected:
  // Says how much memory the activations of a layout take, if that is asked for.
  static void log_arena(const Layout& layout, int64_t scratch_bytes);

  Plan plan_;
  Memory memory_;
  const Options options_;
  // Null unless it is asked for.
  std::unique_ptr<Profile> profile_;

 private:
  mutable std::shared_mutex mutex_;
  mutable std::vector<std::shared_ptr<const Layout>> layouts_;
};

// The address of a value: inputs and outputs as given, others in the arena.
inline void* address_of(const Value& value, const Layout& layout, const std::vector<Tensor>& inputs,
                        const std::vector<void*>& outputs, void* arena) {
  switch (value.home) {
    case Value::Home::kInput:
      return const_cast<void*>(inputs[value.index].data);
    case Value::Home::kOutput:
      return outputs[value.index];
    default:
      return static_cast<char*>(arena) + layout.arena.offsets[value.index];
  }
}

}  // namespace ivit::ep
