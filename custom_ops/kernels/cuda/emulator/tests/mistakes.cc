// What the emulator promises: the mistakes of a kernel show. Each test makes one, and passes if it shows; those named
// crash_... pass if the process ends. Next to them, the same kernel without the mistake gives right results.
#include <set>

#include "kernels/cuda/emulator/tests/check.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

constexpr int kThreads = 128;
// Launches in which the order of threads must show a mistake once, and may never make a right kernel wrong.
constexpr int kLaunches = 40;

// Throws unless run() throws an error whose message has these words.
template <class F>
void check_error(const F& run, const std::string& words) {
  std::string found = "no error";
  try {
    run();
  } catch (const std::runtime_error& error) {
    found = error.what();
  }
  check(found.find(words) != std::string::npos, "expected an error with \"" + words + "\", found: " + found);
}

// Of so many launches of a kernel that writes `wanted`, those with other results.
template <class Kernel>
int wrong_launches(const Kernel& kernel, const std::vector<int32_t>& wanted, size_t shared_bytes) {
  int wrong = 0;
  for (int i = 0; i < kLaunches; ++i) {
    DeviceArray<int32_t> results(wanted.size());
    launch(kernel, {dim3(1), static_cast<int>(wanted.size()), shared_bytes, nullptr}, results.get());
    wrong += to_host(results) != wanted;
  }
  return wrong;
}

template <class Kernel>
void check_shows(const Kernel& mistaken, const Kernel& right, const std::vector<int32_t>& wanted, size_t shared_bytes) {
  check_equal(wrong_launches(right, wanted, shared_bytes), 0, "wrong launches of the right kernel");
  check(wrong_launches(mistaken, wanted, shared_bytes) > 0, "no launch showed the mistake");
}

// -- barriers

// Every thread reads what another one has written.
template <bool kBarrier>
void exchange_kernel(int32_t* results) {
  int32_t* const shared = shared_memory<int32_t>();
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = 3 * thread;
  if (kBarrier) __syncthreads();
  results[thread] = shared[(thread + 45) % kThreads];
}

void missing_barrier() {
  std::vector<int32_t> wanted;
  for (int thread = 0; thread < kThreads; ++thread) wanted.push_back(3 * ((thread + 45) % kThreads));
  check_shows(exchange_kernel<false>, exchange_kernel<true>, wanted, kThreads * sizeof(int32_t));
}

// The second round overwrites what slower threads still read.
template <bool kBarrier>
void rounds_kernel(int32_t* results) {
  int32_t* const shared = shared_memory<int32_t>();
  const int thread = static_cast<int>(threadIdx.x);
  uint32_t sum = 0;
  for (int round = 0; round < 3; ++round) {
    if (kBarrier) __syncthreads();
    shared[thread] = (round + 1) * thread;
    __syncthreads();
    sum += static_cast<uint32_t>(shared[(thread + 33) % kThreads]);
  }
  results[thread] = static_cast<int32_t>(sum);
}

void missing_second_barrier() {
  std::vector<int32_t> wanted;
  for (int thread = 0; thread < kThreads; ++thread) wanted.push_back(6 * ((thread + 33) % kThreads));
  check_shows(rounds_kernel<false>, rounds_kernel<true>, wanted, kThreads * sizeof(int32_t));
}

// The same inside a warp.
template <bool kBarrier>
void warp_exchange_kernel(int32_t* results) {
  int32_t* const shared = shared_memory<int32_t>();
  const int lane = lane_index();
  shared[lane] = 7 * lane;
  if (kBarrier) __syncwarp();
  results[lane] = shared[lane ^ 1];
}

void missing_warp_barrier() {
  std::vector<int32_t> wanted;
  for (int lane = 0; lane < kWarpLanes; ++lane) wanted.push_back(7 * (lane ^ 1));
  check_shows(warp_exchange_kernel<false>, warp_exchange_kernel<true>, wanted, kWarpLanes * sizeof(int32_t));
}

void skip_barrier_kernel(int32_t* results) {
  if (threadIdx.x != 5) __syncthreads();
  results[threadIdx.x] = 1;
}

void skip_warp_barrier_kernel(int32_t* results) {
  if (threadIdx.x != 5) __syncwarp();
  results[threadIdx.x] = 1;
}

// A barrier here, a shuffle there: none of the two ever has all its threads.
void cross_kernel(int32_t* results) {
  if (threadIdx.x == 5) {
    __syncthreads();
  } else {
    results[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
  }
}

void operations_kernel(int32_t* results) {
  const int32_t value = static_cast<int32_t>(threadIdx.x);
  results[threadIdx.x] = threadIdx.x % 2 == 0 ? __shfl_xor_sync(0xffffffffu, value, 2) : __shfl_sync(~0u, value, 1);
}

void check_launch_error(void (*kernel)(int32_t*), const std::string& words) {
  DeviceArray<int32_t> results(kThreads);
  for (int i = 0; i < kLaunches; ++i) {
    check_error([&] { launch(kernel, {dim3(2), kThreads, 0, nullptr}, results.get()); }, words);
  }
  // The next launch starts anew.
  missing_barrier();
}

void skipped_barrier() { check_launch_error(skip_barrier_kernel, "barrier"); }
void skipped_warp_barrier() { check_launch_error(skip_warp_barrier_kernel, "barrier"); }
void barrier_and_shuffle() { check_launch_error(cross_kernel, "barrier"); }
void different_operations() { check_launch_error(operations_kernel, "lanes of a warp wait at"); }

// -- asynchronous copies

// Threads copy 16 bytes each, the last of them 8, and read those of the next thread. kWaits and kBarrier make the
// kernel right.
template <bool kWait, bool kBarrier>
void copy_kernel(const int32_t* source, int32_t* results) {
  int32_t* const shared = shared_memory<int32_t>();
  const int thread = static_cast<int>(threadIdx.x);
  copy_async16(shared + 4 * thread, source + 4 * thread, thread == kThreads - 1 ? 8 : 16);
  commit_copies();
  if (kWait) wait_for_copies<0>();
  if (kBarrier) __syncthreads();
  uint32_t sum = 0;  // rubbish may overflow
  for (int i = 0; i < 4; ++i) sum += static_cast<uint32_t>(shared[4 * ((thread + 40) % kThreads) + i]);
  results[thread] = static_cast<int32_t>(sum);
}

template <bool kWait, bool kBarrier>
int wrong_copies() {
  std::vector<int32_t> source, wanted;
  for (int i = 0; i < 4 * kThreads; ++i) source.push_back(i);
  for (int thread = 0; thread < kThreads; ++thread) {
    const int first = 4 * ((thread + 40) % kThreads);
    wanted.push_back((thread + 40) % kThreads == kThreads - 1 ? 2 * first + 1 : 4 * first + 6);
  }
  // Of the last 16 bytes, 8 are there: nothing may read the others.
  source.resize(source.size() - 2);
  const DeviceArray<int32_t> device(source);
  int wrong = 0;
  for (int i = 0; i < kLaunches; ++i) {
    DeviceArray<int32_t> results(kThreads);
    launch(copy_kernel<kWait, kBarrier>, {dim3(1), kThreads, 16 * kThreads, nullptr}, device.get(), results.get());
    wrong += to_host(results) != wanted;
  }
  return wrong;
}

void copies() {
  check_equal(wrong_copies<true, true>(), 0, "wrong launches of the right kernel");
  check((wrong_copies<false, true>()) > 0, "no launch showed the missing wait");
  check((wrong_copies<true, false>()) > 0, "no launch showed the missing barrier");
}

// Two groups of copies, of which the kernel waits for the first one only, or for both.
template <int kPending>
void groups_kernel(const int32_t* source, int32_t* results) {
  int32_t* const shared = shared_memory<int32_t>();
  const int lane = lane_index();
  for (int group = 0; group < 2; ++group) {
    copy_async16(shared + 4 * (2 * lane + group), source + 4 * group);
    commit_copies();
  }
  wait_for_copies<kPending>();
  results[lane] = shared[8 * lane] ^ shared[8 * lane + 4];
}

template <int kPending>
int wrong_groups() {
  const DeviceArray<int32_t> source(std::vector<int32_t>{1, 2, 3, 4, 50, 60, 70, 80});
  int wrong = 0;
  for (int i = 0; i < kLaunches; ++i) {
    DeviceArray<int32_t> results(kWarpLanes);
    launch(groups_kernel<kPending>, {dim3(1), kWarpLanes, 32 * kWarpLanes, nullptr}, source.get(), results.get());
    wrong += to_host(results) != std::vector<int32_t>(kWarpLanes, 1 ^ 50);
  }
  return wrong;
}

void groups_of_copies() {
  check_equal(wrong_groups<0>(), 0, "wrong launches of the right kernel");
  check(wrong_groups<1>() > 0, "no launch showed that a group was still under way");
}

void misaligned_copy_kernel(const uint8_t* source) { copy_async16(shared_memory<uint8_t>(), source + 4); }

void misaligned_rows_kernel(const uint8_t*) {
  uint32_t registers[4];
  load_matrices(registers, shared_memory<uint8_t>() + 8);
}

void misaligned_addresses() {
  const DeviceArray<uint8_t> source(64);
  const Launch where{dim3(1), 32, 64, nullptr};
  check_error([&] { launch(misaligned_copy_kernel, where, source.get()); }, "not aligned");
  check_error([&] { launch(misaligned_rows_kernel, where, source.get()); }, "not aligned");
}

// -- memory

// What shared memory holds before anyone writes to it.
void read_shared_kernel(int32_t* results) { results[threadIdx.x] = shared_memory<int32_t>()[threadIdx.x]; }

void shared_memory_starts_with_rubbish() {
  std::set<int32_t> found;
  for (int i = 0; i < kLaunches; ++i) {
    DeviceArray<int32_t> results(kWarpLanes);
    launch(read_shared_kernel, {dim3(1), kWarpLanes, 4 * kWarpLanes, nullptr}, results.get());
    found.insert(to_host(results)[7]);
  }
  check(found.size() > kLaunches / 4, "shared memory hardly changes from launch to launch");
}

// Every lane changes its own byte.
void write_shared_kernel(int64_t first) { shared_memory<uint8_t>()[first + lane_index()] ^= 1; }

void write_behind_shared_memory() {
  const auto run = [](int64_t first) { launch(write_shared_kernel, {dim3(3), kWarpLanes, 100, nullptr}, first); };
  run(100 - kWarpLanes);
  check_error([&] { run(101 - kWarpLanes); }, "behind its shared memory");
  check_error([&] { run(1000); }, "behind its shared memory");
  run(0);
}

void device_memory_starts_with_rubbish() {
  check_arrays(to_host(DeviceArray<uint8_t>(100)), std::vector<uint8_t>(100, 0xa5), "device memory");
}

void block_limits() {
  DeviceArray<int32_t> results(2048);
  const auto run = [&](int threads, size_t shared_bytes) {
    launch(read_shared_kernel, {dim3(1), threads, shared_bytes, nullptr}, results.get());
  };
  check_error([&] { run(48, 256); }, "whole warps");
  check_error([&] { run(2048, 8192); }, "1 to 1024 threads");
  check_error([&] { run(32, current_device().shared_bytes + 1); }, "too much shared memory");
  run(1024, 4096);
}

// -- mistakes that end the process

void write_kernel(int32_t* memory, int64_t place) { memory[place] = 1; }

void read_kernel(const uint4* memory, int64_t place, uint4* results) { results[threadIdx.x] = memory[place]; }

void shift_kernel(int32_t* memory, int32_t value) { memory[0] = value + memory[1]; }

constexpr Launch kWarp{dim3(1), 32, 0, nullptr};

// 16 bytes are the granularity: 64 bytes end at the guard page.
void write_past_the_end() {
  DeviceArray<int32_t> memory(16);
  launch(write_kernel, kWarp, memory.get(), int64_t{16});
}

void read_past_the_end() {
  const DeviceArray<uint4> memory(4);
  DeviceArray<uint4> results(32);
  launch(read_kernel, kWarp, memory.get(), int64_t{4}, results.get());
}

void misaligned_vector() {
  const DeviceArray<int32_t> memory(std::vector<int32_t>(16, 0));
  DeviceArray<uint4> results(32);
  launch(read_kernel, kWarp, reinterpret_cast<const uint4*>(memory.get() + 1), int64_t{0}, results.get());
}

void signed_overflow() {
  DeviceArray<int32_t> memory(std::vector<int32_t>(2, INT32_MAX));
  launch(shift_kernel, kWarp, memory.get(), 1);
}

}  // namespace

std::vector<Test> mistake_tests() {
  return {{"missing_barrier", missing_barrier},
          {"missing_second_barrier", missing_second_barrier},
          {"missing_warp_barrier", missing_warp_barrier},
          {"skipped_barrier", skipped_barrier},
          {"skipped_warp_barrier", skipped_warp_barrier},
          {"barrier_and_shuffle", barrier_and_shuffle},
          {"different_operations", different_operations},
          {"copies", copies},
          {"groups_of_copies", groups_of_copies},
          {"misaligned_addresses", misaligned_addresses},
          {"shared_memory", shared_memory_starts_with_rubbish},
          {"write_behind_shared_memory", write_behind_shared_memory},
          {"device_memory", device_memory_starts_with_rubbish},
          {"block_limits", block_limits},
          {"crash_write_past_the_end", write_past_the_end},
          {"crash_read_past_the_end", read_past_the_end},
          {"crash_misaligned_vector", misaligned_vector},
          {"crash_signed_overflow", signed_overflow}};
}

}  // namespace ivit::cuda
