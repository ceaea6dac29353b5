// IntLinear, IntLinear16, IntLinear32, IntLinearAdd: matrix product, bias and requantisation in one pass.
#include "kernels/cpu/int_linear.h"

namespace ivit::cpu {

Epilogue requantize_to(int8_t* y, const PackedLinear& linear) { return {Epilogue::Kind::kInt8, y, linear.columns}; }

Epilogue requantize_to(int16_t* y, const PackedLinear& linear) { return {Epilogue::Kind::kInt16, y, linear.columns}; }

Epilogue requantize_to(int32_t* y, const PackedLinear& linear) { return {Epilogue::Kind::kInt32, y, linear.columns}; }

Epilogue add_residual_to(int16_t* y, const PackedLinear& linear, const Residual& residual) {
  Epilogue epilogue{Epilogue::Kind::kAdd16, y, linear.columns};
  epilogue.branch = NarrowScale(residual.branch_scale);
  epilogue.residual = residual.values;
  epilogue.residual_scale = NarrowScale(residual.residual_scale);
  return epilogue;
}

}  // namespace ivit::cpu
