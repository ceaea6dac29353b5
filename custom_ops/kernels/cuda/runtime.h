// What the host side of kernels needs of the CUDA run-time: memory, copies, launches. runtime.cu has it for GPUs,
// emulator/runtime.cc for the emulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"

namespace ivit::cuda {

// A call of the CUDA run-time failed; the message says which and why.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A cudaStream_t.
using Stream = void*;

struct Device {
  int index;
  int compute_capability;  // 80 for 8.0
  int multiprocessors;
  size_t shared_bytes;  // the most that a block can have
};

// The current device, asked once for each.
const Device& current_device();

// Number of GPUs; 0 without a driver.
int device_count() noexcept;

void* allocate(size_t bytes);
void release(void* memory) noexcept;
// Copies that have ended when they return.
void copy_to_device(void* device, const void* host, size_t bytes);
void copy_to_host(void* host, const void* device, size_t bytes);
// A copy inside the device in the order of the stream.
void copy_on_device(void* target, const void* source, size_t bytes, Stream stream);
void synchronize(Stream stream);

// Makes a device the current one of this thread, and the one before it again at the end.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_;
};

// A stream of its own, which waits for no other.
class OwnStream {
 public:
  OwnStream();
  ~OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;

  Stream get() const { return stream_; }

 private:
  Stream stream_;
};

// Work that is recorded once and launched many times.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // `enqueue` enqueues the work on the stream; it is not done now.
  void record(Stream stream, const std::function<void()>& enqueue);
  void launch(Stream stream) const;

 private:
  // A cudaGraphExec_t; for the emulator, the work itself.
  void* graph_ = nullptr;
};

// An array on the device.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(size_t size) : data_(static_cast<T*>(allocate(size * sizeof(T)))), size_(size) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    copy_to_device(data_, values.data(), size_ * sizeof(T));
  }
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceArray() { release(data_); }

  T* get() { return data_; }
  const T* get() const { return data_; }
  size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

struct Launch {
  dim3 grid;
  int threads;
  size_t shared_bytes;
  Stream stream;
};

#ifdef __CUDACC__

// Throws CudaError for a status that is not cudaSuccess.
void check(cudaError_t status, const char* call);

// Enqueues a kernel. A grid without blocks is no work.
template <class... P, class... A>
void launch(void (*kernel)(P...), const Launch& where, const A&... arguments) {
  if (where.grid.x == 0 || where.grid.y == 0 || where.grid.z == 0) return;
  if (where.shared_bytes > 48 * 1024) {
    check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(where.shared_bytes)),
        "cudaFuncSetAttribute");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = where.grid;
  config.blockDim = dim3(static_cast<unsigned>(where.threads));
  config.dynamicSmemBytes = where.shared_bytes;
  config.stream = static_cast<cudaStream_t>(where.stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), "cudaLaunchKernelEx");
}

#else

template <class... P, class... A>
void launch(void (*kernel)(P...), const Launch& where, const A&... arguments) {
  if (where.shared_bytes > current_device().shared_bytes) throw CudaError("a block wants too much shared memory");
  emulator::run(where.grid, dim3(static_cast<unsigned>(where.threads)), where.shared_bytes,
                [&] { kernel(static_cast<P>(arguments)...); });
}

#endif

}  // namespace ivit::cuda
