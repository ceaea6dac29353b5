// A test is a function with a name that returns, or throws with a message.
#pragma once

#include <cstdint>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace ivit::cuda {

struct Test {
  const char* name;
  void (*run)();
};

// By file. Mistakes are those that a kernel can make, see mistakes.cc.
std::vector<Test> mistake_tests();
std::vector<Test> tensor_core_tests();
std::vector<Test> arithmetic_tests();
std::vector<Test> matmul_tests();
std::vector<Test> rows_tests();

template <class A, class B>
void check_equal(const A& found, const B& wanted, const std::string& what) {
  if (found == wanted) return;
  std::ostringstream message;
  message << what << ": expected " << +wanted << ", found " << +found;
  throw std::runtime_error(message.str());
}

template <class T>
void check_arrays(const std::vector<T>& found, const std::vector<T>& wanted, const std::string& what) {
  check_equal(found.size(), wanted.size(), what + ": size");
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (found[i] != wanted[i]) check_equal(found[i], wanted[i], what + " [" + std::to_string(i) + "]");
  }
}

inline void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

template <class T>
std::vector<T> random_values(std::mt19937_64& random, size_t count) {
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(random());
  return values;
}

template <class T>
std::vector<T> to_host(const DeviceArray<T>& array) {
  std::vector<T> values(array.size());
  copy_to_host(values.data(), array.get(), array.size() * sizeof(T));
  return values;
}

}  // namespace ivit::cuda
