// The scales that tokens choose from in IntTokenMlpAdd, packed for one variant.
#include "kernels/cpu/token_scales.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/cpu/table_gelu.h"

namespace ivit::cpu {
namespace {

// For each column.
std::vector<int32_t> furthest_bias(const TokenInputs& inputs) {
  std::vector<int32_t> furthest(inputs.bias, inputs.bias + inputs.columns);
  for (int64_t at = inputs.columns; at < inputs.scales * inputs.columns; ++at) {
    int32_t& found = furthest[static_cast<size_t>(at % inputs.columns)];
    if (std::abs(int64_t{inputs.bias[at]}) > std::abs(int64_t{found})) found = inputs.bias[at];
  }
  return furthest;
}

}  // namespace

TokenScales::TokenScales(const PanelLayout& layout, const TokenInputs& inputs)
    : numbers_(256),
      linear_(layout, inputs.weight, inputs.inner, inputs.columns, furthest_bias(inputs).data(), inputs.scale),
      bias_(inputs.scales * linear_.panels() * layout.panel_columns) {
  const ByBits chosen(inputs.token_scale);
  for (size_t i = 0; i < numbers_.size(); ++i) {
    numbers_[i] = static_cast<uint8_t>(std::min<int64_t>(chosen.get()[i], inputs.scales - 1));
  }
  const int64_t stride = linear_.panels() * layout.panel_columns;
  std::fill_n(bias_.get(), inputs.scales * stride, 0);
  for (int64_t i = 0; i < inputs.scales; ++i) {
    const ByBits table(inputs.gelu_tables + 256 * i);
    values_.insert(values_.end(), table.get(), table.get() + 256);
    for (int64_t column = 0; column < inputs.columns; ++column) {
      bias_[i * stride + linear_.place(column)] = inputs.bias[i * inputs.columns + column];
    }
    const Dyadic branch = inputs.branch.from(i);
    multiplier_.push_back(branch.multiplier[0]);
    shift_.push_back(branch.shift[0]);
  }
  for (size_t i = 0; i < multiplier_.size(); ++i) branch_.emplace_back(Dyadic{&multiplier_[i], 0, &shift_[i], 0});
}

RowScales TokenScales::scales() const {
  return {static_cast<int64_t>(branch_.size()), branch_.data(), bias_.get(),
          linear_.panels() * linear_.layout.panel_columns};
}

}  // namespace ivit::cpu
