#include "ep/program.h"

#include <mutex>
#include <string>

#include "ort/status.h"

namespace ivit::ep {
namespace {

// Layouts that are kept; a service with ever new batch sizes makes them anew.
constexpr size_t kMostLayouts = 128;

bool same_shapes(const Layout& layout, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (layout.input_shapes[i] != inputs[i].shape) return false;
  }
  return true;
}

}  // namespace

Program::Program(Plan plan, const Options& options)
    : plan_(std::move(plan)),
      options_(options),
      profile_(options.profile ? std::make_unique<Profile>(plan_.steps()) : nullptr) {}

void Program::log_arena(const Layout& layout, int64_t scratch_bytes) {
  const std::string batch =
      layout.input_shapes.empty() || layout.input_shapes[0].empty() ? "1" : std::to_string(layout.input_shapes[0][0]);
  log("memory: " + std::to_string(layout.arena.bytes) + " bytes of activations for a batch of " + batch +
      (scratch_bytes > 0 ? ", " + std::to_string(scratch_bytes) + " of scratch memory" : ""));
}

std::shared_ptr<const Layout> Program::layout(const std::vector<Tensor>& inputs) const {
  {
    const std::shared_lock<std::shared_mutex> lock(mutex_);
    for (const auto& known : layouts_) {
      if (same_shapes(*known, inputs)) return known;
    }
  }
  std::vector<std::vector<int64_t>> shapes;
  for (const Tensor& input : inputs) {
    const int64_t batch = input.shape.empty() ? 1 : input.shape[0];
    if (options_.max_batch > 0 && batch > options_.max_batch) {
      throw ort::InvalidArgument("ivit: batch: expected at most max_batch = " + std::to_string(options_.max_batch) +
                                 ", found " + std::to_string(batch));
    }
    shapes.push_back(input.shape);
  }
  auto made = std::make_shared<const Layout>(plan_.layout(shapes));
  const std::unique_lock<std::shared_mutex> lock(mutex_);
  if (layouts_.size() >= kMostLayouts) layouts_.erase(layouts_.begin());
  layouts_.push_back(made);
  return made;
}

}  // namespace ivit::ep
