// The CUDA run-time behind runtime.h.
#include <mutex>
#include <string>

#include "kernels/cuda/allocated.h"
#include "kernels/cuda/runtime.h"

namespace ivit::cuda {
namespace {

thread_local size_t taken = 0;

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report it again
  throw CudaError(std::string(call) + ": " + cudaGetErrorString(status));
}

const Device& current_device() {
  constexpr int kMost = 64;
  static Device devices[kMost];
  static std::once_flag asked[kMost];
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  if (device >= kMost) throw CudaError("more than 64 GPUs");
  std::call_once(asked[device], [&] {
    int major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          "cudaDeviceGetAttribute");
    devices[device] = {device, 10 * major + minor, multiprocessors, static_cast<size_t>(shared_bytes)};
  });
  return devices[device];
}

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

size_t allocated_bytes() { return taken; }

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  taken += bytes;
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return memory;
}

void release(void* memory) noexcept { cudaFree(memory); }

void copy_to_device(void* device, const void* host, size_t bytes) {
  if (bytes > 0) check(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  if (bytes > 0) check(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
}

void copy_on_device(void* target, const void* source, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)),
        "cudaMemcpyAsync");
}

void synchronize(Stream stream) {
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "cudaStreamSynchronize");
}

CurrentDevice::CurrentDevice(int device) : before_(device) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ != device) check(cudaSetDevice(device), "cudaSetDevice");
}

CurrentDevice::~CurrentDevice() { cudaSetDevice(before_); }

OwnStream::OwnStream() : stream_(nullptr) {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  stream_ = stream;
}

OwnStream::~OwnStream() { cudaStreamDestroy(static_cast<cudaStream_t>(stream_)); }

Graph::~Graph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph_));
}

void Graph::record(Stream stream, const std::function<void()>& enqueue) {
  const cudaStream_t cuda_stream = static_cast<cudaStream_t>(stream);
  // Other threads may allocate meanwhile.
  check(cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t recorded = nullptr;
  try {
    enqueue();
  } catch (...) {
    cudaStreamEndCapture(cuda_stream, &recorded);
    if (recorded != nullptr) cudaGraphDestroy(recorded);
    throw;
  }
  check(cudaStreamEndCapture(cuda_stream, &recorded), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  check(status, "cudaGraphInstantiate");
  graph_ = executable;
}

void Graph::launch(Stream stream) const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph_), static_cast<cudaStream_t>(stream)), "cudaGraphLaunch");
}

}  // namespace ivit::cuda
