#include "ep/standard.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>

#include "ort/binding.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;
using ort::InvalidArgument;

// TensorProto.INT32
constexpr int64_t kInt32InOnnx = 6;

// The one element of a constant of int64.
int64_t constant(const Node& node, size_t index) {
  if (!is_constant(node.inputs[index])) throw InvalidArgument(node.op_type + ": its bounds are computed");
  const OrtValue* value = nullptr;
  check(api().ValueInfo_GetInitializerValue(node.inputs[index], &value));
  const std::vector<int64_t> shape = ort::shape_of(value);
  if (element_type(node.inputs[index]) != ort::kInt64 || shape != std::vector<int64_t>{1}) {
    throw InvalidArgument(node.op_type + ": its bounds are not one number each");
  }
  return *static_cast<const int64_t*>(ort::data_of(value));
}

enum SliceAttribute { kFrom, kTo };

ort::Extent slice_length(const ort::Dims& dims, const ort::Attributes& attributes) {
  const int64_t tokens = dims['T'];
  if (tokens == ort::Dims::kUnknown) return ort::Extent(tokens);
  return ort::Extent(std::max<int64_t>(0, std::min(attributes[kTo], tokens) - attributes[kFrom]));
}

template <class T>
class SliceKernel final : public ort::Kernel {
 public:
  explicit SliceKernel(const ort::Call&) {}
  void compute(const ort::Call& call, const cpu::Parallel&) const override {
    const int64_t width = call.dims['C'];
    const int64_t length = call.output_dim(0, 1);
    const T* x = call.data<T>(0) + call.attributes[kFrom] * width;
    T* y = call.output<T>();
    for (int64_t n = 0; n < call.dims['N']; ++n) {
      std::copy_n(x + n * call.dims['T'] * width, length * width, y + n * length * width);
    }
  }
};

ort::Extent flat_width(const ort::Dims& dims, const ort::Attributes&) {
  return ort::Extent(dims['T']) * ort::Extent(dims['C']);
}

template <class T>
class FlattenKernel final : public ort::Kernel {
 public:
  explicit FlattenKernel(const ort::Call&) {}
  void compute(const ort::Call& call, const cpu::Parallel&) const override {
    std::copy_n(call.data<T>(0), call.dims['N'] * call.output_dim(0, 1), call.output<T>());
  }
};

template <class T>
class CastKernel final : public ort::Kernel {
 public:
  explicit CastKernel(const ort::Call&) {}
  void compute(const ort::Call& call, const cpu::Parallel&) const override {
    std::copy_n(call.data<T>(0), call.dims.rows() * call.dims['C'], call.output<int32_t>());
  }
};

template <class K>
std::unique_ptr<ort::Kernel> create(const ort::Call& constants) {
  return std::make_unique<K>(constants);
}

template <class T>
std::vector<ort::OperatorSpec> specs_of(ONNXTensorElementDataType type) {
  const ort::Role activation = ort::Role::kActivation;
  return {{{"Slice",
            {{"data", type, "NTC", activation}},
            {{"output", type, "NaC"}},
            {{"from", {0, INT32_MAX}}, {"to", {0, INT32_MAX}}},
            {{"min(to, T) - from", slice_length}},
            {}},
           create<SliceKernel<T>>},
          {{"Flatten", {{"input", type, "NTC", activation}}, {{"output", type, "Na"}}, {}, {{"T*C", flat_width}}, {}},
           create<FlattenKernel<T>>},
          {{"Cast", {{"input", type, "*C", activation}}, {{"output", ort::kInt32, "*C"}}, {}, {}, {}},
           create<CastKernel<T>>}};
}

const ort::OperatorSpec& spec_of(const Node& node, ONNXTensorElementDataType type) {
  // Never destroyed: sessions may run while the process ends.
  static const std::vector<ort::OperatorSpec>& specs = *[] {
    auto* all = new std::vector<ort::OperatorSpec>;
    for (const auto& some :
         {specs_of<int8_t>(ort::kInt8), specs_of<int16_t>(ort::kInt16), specs_of<int32_t>(ort::kInt32)}) {
      all->insert(all->end(), some.begin(), some.end());
    }
    return all;
  }();
  for (const ort::OperatorSpec& spec : specs) {
    if (node.op_type == spec.name && spec.inputs[0].type == type) return spec;
  }
  throw InvalidArgument("operators of the domain '" + node.domain + "' are left to other providers");
}

}  // namespace

int standard_version(const Node& node) {
  struct Operator {
    const char* op_type;
    int since_version;
  };
  static constexpr Operator kKnown[] = {
#include "ep/standard_versions.inc"
  };
  if (!node.domain.empty()) return 0;
  const auto* const found = std::find_if(std::begin(kKnown), std::end(kKnown),
                                         [&](const Operator& known) { return node.op_type == known.op_type; });
  return found == std::end(kKnown) ? 0 : found->since_version;
}

ort::Call bind_standard(const Node& node) {
  if (node.inputs.empty() || node.inputs[0] == nullptr) throw InvalidArgument(node.op_type + ": it has no input");
  if (is_constant(node.inputs[0])) throw InvalidArgument(node.op_type + ": its input is a constant");
  ort::Call call(spec_of(node, element_type(node.inputs[0])));
  const size_t rank = shape_of(node.inputs[0]).size();
  if (node.op_type == "Cast") {
    if (read_attribute(node, "to") != kInt32InOnnx) throw InvalidArgument("Cast: only int32 is produced");
    if (rank == 0) throw InvalidArgument("Cast: expected an input of known rank above 0");
    return call;
  }
  if (rank != 3) throw InvalidArgument(node.op_type + ": expected an input of rank 3, found " + std::to_string(rank));
  if (node.op_type == "Slice") {
    // data, starts, ends, axes; with steps there would be a fifth input.
    constexpr size_t kInputs = 4;
    if (node.inputs.size() != kInputs || constant(node, kInputs - 1) != 1) {
      throw InvalidArgument("Slice: only consecutive tokens are taken");
    }
    for (size_t i = 0; i < 2; ++i) {
      call.attributes.push_back(ort::check_attribute(call.spec, call.spec.attributes[i], constant(node, i + 1)));
    }
  } else if (read_attribute(node, "axis") != 1) {
    throw InvalidArgument("Flatten: expected axis 1");
  }
  return call;
}

}  // namespace ivit::ep
