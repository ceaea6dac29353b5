#include "ep/flat/constant.h"

#include <algorithm>
#include <cstring>

namespace ivit::ep::flat {
namespace {

template <class T>
void widen(const void* data, Numbers& values) {
  const T* from = static_cast<const T*>(data);
  std::copy_n(from, values.size(), values.begin());
}

template <class T>
std::vector<uint8_t> narrow(const Numbers& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    const T value = static_cast<T>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

}  // namespace

int64_t element_count(const Numbers& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0 || dim > kMostElements) return -1;
    count *= dim;
    if (count > kMostElements) return -1;
  }
  return count;
}

int64_t wrap(int64_t value, ONNXTensorElementDataType type) {
  switch (type) {
    case ort::kInt8:
      return static_cast<int8_t>(value);
    case ort::kUint8:
      return static_cast<uint8_t>(value);
    case ort::kInt16:
      return static_cast<int16_t>(value);
    case ort::kInt32:
      return static_cast<int32_t>(value);
    case kBool:
      return value != 0;
    default:
      return value;
  }
}

std::optional<Constant> read_constant(const ort::TensorView& tensor) {
  const int64_t count = element_count(tensor.shape);
  if (count < 0) return std::nullopt;
  Constant constant{tensor.type, tensor.shape, Numbers(static_cast<size_t>(count))};
  switch (tensor.type) {
    case ort::kInt8:
      widen<int8_t>(tensor.data, constant.values);
      break;
    case ort::kUint8:
    case kBool:
      widen<uint8_t>(tensor.data, constant.values);
      break;
    case ort::kInt16:
      widen<int16_t>(tensor.data, constant.values);
      break;
    case ort::kInt32:
      widen<int32_t>(tensor.data, constant.values);
      break;
    case ort::kInt64:
      widen<int64_t>(tensor.data, constant.values);
      break;
    default:
      return std::nullopt;
  }
  return constant;
}

std::vector<uint8_t> bytes_of(const Constant& constant) {
  switch (constant.type) {
    case ort::kInt64:
      return narrow<int64_t>(constant.values);
    case ort::kInt32:
      return narrow<int32_t>(constant.values);
    case ort::kInt16:
      return narrow<int16_t>(constant.values);
    default:
      return narrow<uint8_t>(constant.values);
  }
}

Constant cast(const Constant& x, ONNXTensorElementDataType type) {
  Constant y{type, x.shape, x.values};
  for (int64_t& value : y.values) value = wrap(value, type);
  return y;
}

}  // namespace ivit::ep::flat
