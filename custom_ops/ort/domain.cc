#include "ort/domain.h"

#include <memory>
#include <vector>

#include "ort/custom_op.h"
#include "ort/status.h"

namespace ivit::ort {
namespace {

OrtCustomOpDomain* create() {
  OrtCustomOpDomain* made = nullptr;
  check(api().CreateCustomOpDomain(kDomain, &made));
  std::unique_ptr<OrtCustomOpDomain, void (*)(OrtCustomOpDomain*)> owner(
      made, [](OrtCustomOpDomain* owned) { api().ReleaseCustomOpDomain(owned); });
  auto ops = std::make_unique<std::vector<CustomOp>>(custom_ops());
  for (CustomOp& op : *ops) check(api().CustomOpDomain_Add(made, &op));
  ops.release();
  return owner.release();
}

}  // namespace

OrtCustomOpDomain* domain() {
  static OrtCustomOpDomain* const only = create();
  return only;
}

}  // namespace ivit::ort
