// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one pass.
#include "kernels/cpu/int_linear.h"

#include <algorithm>

#include "kernels/cpu/add_requantize.h"
#include "kernels/cpu/requantize.h"

namespace ivit::cpu {
namespace {

LoadRow rows_of(const int8_t* x, int64_t length) {
  return [=](int64_t row, int16_t* values) { std::copy(x + row * length, x + (row + 1) * length, values); };
}

}  // namespace

template <class Out>
void int_linear(const Parallel& parallel, const int8_t* x, int64_t rows, const Linear& linear, Out* y) {
  matmul(parallel, rows, linear.weight, linear.bias, rows_of(x, linear.weight.inner()),
         [&](int64_t row, int64_t column, int64_t count, const int32_t* sums) {
           requantize_row(sums, count, linear.scale.from(column), y + row * linear.weight.columns() + column);
         });
}

template void int_linear(const Parallel&, const int8_t*, int64_t, const Linear&, int8_t*);
template void int_linear(const Parallel&, const int8_t*, int64_t, const Linear&, int16_t*);
template void int_linear(const Parallel&, const int8_t*, int64_t, const Linear&, int32_t*);

void int_linear_add(const Parallel& parallel, const int8_t* x, int64_t rows, const Linear& linear,
                    const Residual& residual, int16_t* y) {
  matmul(parallel, rows, linear.weight, linear.bias, rows_of(x, linear.weight.inner()),
         [&](int64_t row, int64_t column, int64_t count, const int32_t* sums) {
           const int64_t first = row * linear.weight.columns() + column;
           for (int64_t i = 0; i < count; ++i) {
             const int16_t branch = saturate<int16_t>(linear.scale.scale(sums[i], column + i));
             y[first + i] = add_requantize(branch, residual.branch_scale, residual.values[first + i],
                                           residual.residual_scale, column + i);
           }
         });
}

}  // namespace ivit::cpu
