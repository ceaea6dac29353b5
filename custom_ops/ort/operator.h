// How operators meet the glue: their contracts, a checked call, and a kernel that computes it.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/common/dyadic.h"
#include "kernels/cpu/parallel.h"
#include "ort/contracts.h"

namespace ivit::ort {

struct OperatorSpec;

// A checked call: pointers, dimensions and attributes. When a kernel is created, only the inputs that are constant in
// the model are there, and no outputs.
class Call {
 public:
  struct Input {
    const void* data = nullptr;
    bool constant = false;
    bool scalar = false;
    std::shared_ptr<const void> copy = nullptr;  // see TensorView
  };

  explicit Call(const OperatorSpec& spec) : spec(spec) {}

  template <class T>
  const T* data(size_t input) const {
    return static_cast<const T*>(inputs[input].data);
  }

  template <class T>
  T* output(size_t index = 0) const {
    return static_cast<T*>(outputs[index]);
  }

  Dyadic dyadic(const ScaleInputs& scale) const {
    return {data<int32_t>(scale.multiplier), inputs[scale.multiplier].scalar ? 0 : 1, data<int8_t>(scale.shift),
            inputs[scale.shift].scalar ? 0 : 1};
  }

  bool is_constant(size_t input) const { return inputs[input].constant; }
  bool is_constant(const ScaleInputs& scale) const { return is_constant(scale.multiplier) && is_constant(scale.shift); }

  // A dimension of an input or output whose shape has no ".."; of "[] or [C]", C.
  int64_t input_dim(size_t input, size_t axis) const;
  int64_t output_dim(size_t output, size_t axis) const;

  const OperatorSpec& spec;
  std::array<Input, kMostInputs> inputs;
  Attributes attributes;
  Dims dims;
  std::array<void*, kMostOutputs> outputs = {};
};

// One node's computation. Several threads may call compute at the same time.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void compute(const Call& call, const cpu::Parallel& parallel) const = 0;
};

struct OperatorSpec : Contract {
  std::unique_ptr<Kernel> (*create)(const Call& constants);
};

inline int64_t Call::input_dim(size_t input, size_t axis) const { return dims.shape(spec.inputs[input].shape)[axis]; }
inline int64_t Call::output_dim(size_t output, size_t axis) const {
  return dims.shape(spec.outputs[output].shape)[axis];
}

// The CPU kernel of an operator. Each operator has one in ort/operators/: IVIT_KERNEL says which.
template <class Op>
std::unique_ptr<Kernel> create_kernel(const Call& constants);

#define IVIT_DECLARE(Name) \
  template <>              \
  std::unique_ptr<Kernel> create_kernel<op::Name>(const Call& constants);
IVIT_OPERATORS(IVIT_DECLARE)
#undef IVIT_DECLARE

// The kernel of the operator `Name` is of the class template `Class`, whose parameter is the operator.
#define IVIT_KERNEL(Name, Class)                                           \
  template <>                                                              \
  std::unique_ptr<Kernel> create_kernel<op::Name>(const Call& constants) { \
    return std::make_unique<Class<op::Name>>(constants);                   \
  }

// Every operator of the domain.
const std::vector<OperatorSpec>& operators();

}  // namespace ivit::ort
