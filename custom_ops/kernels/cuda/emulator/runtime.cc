// The emulator behind runtime.h. "Device memory" is host memory that ends at a page no one may touch, and starts with
// rubbish: reading or writing behind a buffer ends the process, reading before writing gives wrong results.
#include "kernels/cuda/runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <unordered_map>

#include "kernels/cuda/allocated.h"

namespace ivit::cuda {
namespace {

// cudaMalloc gives 256; copies and vector loads want 16, and a smaller one lets buffers end nearer to the guard page.
constexpr size_t kAlignment = 16;

struct Mapping {
  void* start;
  size_t bytes;
};

thread_local size_t taken = 0;
std::mutex mutex;
std::unordered_map<void*, Mapping> mappings;

}  // namespace

const Device& current_device() {
  // IVIT_EMULATOR_SHARED_BYTES=65536 is a Turing.
  static const Device device = [] {
    const char* given = std::getenv("IVIT_EMULATOR_SHARED_BYTES");
    return Device{0, 80, 8, given == nullptr ? size_t{227} * 1024 : std::strtoull(given, nullptr, 10)};
  }();
  return device;
}

int device_count() noexcept { return 1; }

size_t allocated_bytes() { return taken; }

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  taken += bytes;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t pages = (size + page - 1) / page * page;
  void* start = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) throw CudaError("emulator: out of memory");
  mprotect(static_cast<char*>(start) + pages, page, PROT_NONE);
  std::memset(start, 0xa5, pages);
  void* memory = static_cast<char*>(start) + (pages - size);
  const std::lock_guard<std::mutex> lock(mutex);
  mappings[memory] = {start, pages + page};
  return memory;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end()) std::abort();
  munmap(found->second.start, found->second.bytes);
  mappings.erase(found);
}

void copy_to_device(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void copy_on_device(void* target, const void* source, size_t bytes, Stream) {
  if (bytes > 0) std::memcpy(target, source, bytes);
}

void synchronize(Stream) {}

CurrentDevice::CurrentDevice(int) : before_(0) {}

CurrentDevice::~CurrentDevice() { (void)before_; }

OwnStream::OwnStream() : stream_(nullptr) {}

OwnStream::~OwnStream() = default;

Graph::~Graph() { delete static_cast<std::function<void()>*>(graph_); }

void Graph::record(Stream, const std::function<void()>& enqueue) { graph_ = new std::function<void()>(enqueue); }

void Graph::launch(Stream) const { (*static_cast<std::function<void()>*>(graph_))(); }

}  // namespace ivit::cuda
