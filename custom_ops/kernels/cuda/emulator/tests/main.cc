// Tests of the emulator and of kernels that are no operators of their own: emulator_test [NAME...] runs the tests of
// these names, or all that end; emulator_test --list names them. The exit status is 1 if one fails.
#include <cstdio>
#include <cstring>

#include "kernels/cuda/emulator/tests/check.h"

namespace {

using ivit::cuda::Test;

std::vector<Test> all_tests() {
  std::vector<Test> all;
  for (const auto& some : {ivit::cuda::mistake_tests(), ivit::cuda::tensor_core_tests(), ivit::cuda::arithmetic_tests(),
                           ivit::cuda::matmul_tests(), ivit::cuda::rows_tests()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// Tests that pass when they end the process.
bool ends_process(const Test& test) { return std::strncmp(test.name, "crash_", 6) == 0; }

bool run(const Test& test) {
  try {
    test.run();
    std::printf("%s: passed\n", test.name);
    return true;
  } catch (const std::exception& error) {
    std::printf("%s: FAILED: %s\n", test.name, error.what());
    return false;
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--list") == 0) {
    for (const Test& test : all_tests()) std::printf("%s\n", test.name);
    return 0;
  }
  bool passed = true;
  int found = 0;
  for (const Test& test : all_tests()) {
    bool wanted = count == 1 && !ends_process(test);
    for (int i = 1; i < count; ++i) wanted = wanted || std::strcmp(arguments[i], test.name) == 0;
    if (!wanted) continue;
    ++found;
    passed = run(test) && passed;
  }
  if (count > 1 && found < count - 1) {
    std::printf("some names belong to no test: see --list\n");
    return 1;
  }
  return passed ? 0 : 1;
}
