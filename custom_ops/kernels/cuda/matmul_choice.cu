#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_choice.h"
#include "kernels/cuda/matmul_mma.h"
#ifdef IVIT_HOPPER
#include "kernels/cuda/matmul_hopper.h"
#endif

namespace ivit::cuda {
namespace {

bool turned_off() {
  const char* wanted = std::getenv("IVIT_CUDA_MATMUL");
  if (wanted == nullptr || *wanted == '\0') return false;
  if (std::strcmp(wanted, "mma") == 0) return true;
  throw CudaError(std::string("IVIT_CUDA_MATMUL: expected mma, found ") + wanted);
}

#ifdef IVIT_HOPPER

// Numbers without pattern.
class Numbers {
 public:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  template <class T>
  std::vector<T> some(int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    for (T& value : values) value = static_cast<T>(next());
    return values;
  }

 private:
  uint64_t state_ = 2024;
};

// A product whose rows, columns and inner length end inside tiles.
constexpr int64_t kRows = 333;
constexpr int64_t kColumns = 272;
constexpr int64_t kInner = 208;

// The result of a product as int16 or int8, by one kind of kernels.
template <class Out, class Matmul>
std::vector<Out> result(const Matmul& matmul, Epilogue epilogue) {
  DeviceArray<Out> y(static_cast<size_t>(kRows * kColumns));
  epilogue.y = y.get();
  matmul(epilogue);
  synchronize(nullptr);
  std::vector<Out> values(y.size());
  copy_to_host(values.data(), y.get(), y.size() * sizeof(Out));
  return values;
}

bool agree(int least_shift) {
  Numbers numbers;
  const std::vector<int8_t> weight = numbers.some<int8_t>(kInner * kColumns);
  const std::vector<int32_t> bias = numbers.some<int32_t>(kColumns);
  const std::vector<int32_t> multiplier = numbers.some<int32_t>(kColumns);
  std::vector<int8_t> shift(static_cast<size_t>(kColumns));
  for (int8_t& e : shift) e = static_cast<int8_t>(least_shift + numbers.next() % 16);
  const PackedLinear linear(weight.data(), kInner, kColumns, bias.data(), {multiplier.data(), 1, shift.data(), 1});
  const DeviceArray<int8_t> x(numbers.some<int8_t>(kRows * kInner));
  const DeviceArray<int16_t> residual(numbers.some<int16_t>(kRows * kColumns));
  const int32_t scale = 0x55555555;
  const int8_t scale_shift = static_cast<int8_t>(least_shift - 2);
  const ScalarScale scalar = scalar_scale({&scale, 0, &scale_shift, 0});

  // The most that an operator has.
  constexpr int64_t kRowScales = 64;
  const std::vector<int32_t> biases = numbers.some<int32_t>(kRowScales * kColumns);
  const std::vector<int32_t> branches = numbers.some<int32_t>(kRowScales);
  std::vector<int8_t> branch_shifts(static_cast<size_t>(kRowScales));
  for (int8_t& e : branch_shifts) e = static_cast<int8_t>(least_shift - 2 + numbers.next() % 16);
  const PackedRowScales row_scales(biases.data(), kColumns, {branches.data(), 1, branch_shifts.data(), 1}, kRowScales);
  std::vector<int32_t> chosen(static_cast<size_t>(kRows));
  for (int32_t& i : chosen) i = static_cast<int32_t>(numbers.next() % kRowScales);
  const DeviceArray<int32_t> device_chosen(chosen);

  const auto by_mma = [&](const Epilogue& epilogue) {
    matmul_mma(0, x.get(), kInner, kRows, linear.get(), epilogue, nullptr);
  };
  const auto by_hopper = [&](const Epilogue& epilogue) {
    if (!matmul_hopper_takes(x.get(), kInner, kRows, linear.get(), epilogue)) throw CudaError("hopper_in_use");
    matmul_hopper(x.get(), kInner, kRows, linear.get(), epilogue, nullptr);
  };
  const Epilogue to_int8 = requantize_to(static_cast<int8_t*>(nullptr));
  const Epilogue to_int16 = requantize_to(static_cast<int16_t*>(nullptr));
  const Epilogue to_stream = add_residual_to(nullptr, {residual.get(), scalar, scalar});
  const Epilogue to_rows = add_residual_to(nullptr, {residual.get(), row_scales.with(device_chosen.get()), scalar});
  return result<int8_t>(by_mma, to_int8) == result<int8_t>(by_hopper, to_int8) &&
         result<int16_t>(by_mma, to_int16) == result<int16_t>(by_hopper, to_int16) &&
         result<int16_t>(by_mma, to_stream) == result<int16_t>(by_hopper, to_stream) &&
         result<int16_t>(by_mma, to_rows) == result<int16_t>(by_hopper, to_rows);
}

bool hopper_agrees() {
  try {
    return agree(33) && agree(17);
  } catch (const CudaError&) {
    return false;
  }
}

#endif

}  // namespace

bool hopper_in_use() {
#ifdef IVIT_HOPPER
  constexpr int kHopper = 90;
  constexpr int kMost = 64;
  static std::once_flag asked[kMost];
  static bool answers[kMost];
  if (current_device().compute_capability != kHopper || turned_off()) return false;
  // The answer needs products of its own, which ask again.
  static thread_local bool asking = false;
  if (asking) return false;
  const int device = current_device().index;
  std::call_once(asked[device], [&] {
    asking = true;
    answers[device] = hopper_agrees();
    asking = false;
  });
  return answers[device];
#else
  turned_off();
  return false;
#endif
}

}  // namespace ivit::cuda
