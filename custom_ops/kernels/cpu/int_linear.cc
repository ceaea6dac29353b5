// IntLinear, IntLinear16, IntLinear32, IntLinearAdd, IntLinearAddNorm: matrix product and all that follows in one pass.
#include "kernels/cpu/int_linear.h"

#include <algorithm>

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Rows of the residual stream that stay in a second-level cache.
constexpr int64_t kBlockRows = 192;

}  // namespace

AddResidual add_residual_to(int16_t* y, const PackedLinear& linear, const Residual& residual) {
  return {y, linear.columns, NarrowScale(residual.branch_scale), residual.values, NarrowScale(residual.residual_scale)};
}

void int_linear_add_norm(const Parallel& parallel, const int8_t* x, int64_t rows, const PackedLinear& linear,
                         const Residual& residual, int16_t* y, const Norm& norm) {
  const Variant& variant = active_variant();
  const AddResidual add = add_residual_to(y, linear, residual);
  const Split split(rows, std::max(wanted_tasks(), divide_up(rows, kBlockRows)), variant.matmul.row_tile);
  parallel.run(split.count(), [&](int64_t task) {
    const int64_t first = split.begin(task);
    const int64_t count = split.end(task) - first;
    const int64_t offset = first * linear.columns;
    variant.matmul.compute(x + first * linear.inner, linear.inner, count, linear, 0, linear.panels(),
                           add.from_row(first));
    variant.layer_norm(y + offset, count, linear.columns, norm.affine, norm.y + offset);
  });
}

}  // namespace ivit::cpu
