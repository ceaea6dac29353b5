// A block of CUDA threads on a CPU, for tests: kernel sources are compiled by the host's compiler against this header.
//
// Every CUDA thread is a fiber of one operating-system thread. Fibers switch at barriers and warp operations only, in
// an order that changes from launch to launch (IVIT_EMULATOR_SEED sets the first), so a missing barrier shows as a
// wrong result sooner or later. Shared memory starts with changing rubbish, and writing behind it is an error. A
// barrier that some threads of a warp or block never reach, because they have ended or wait elsewhere, ends the launch
// with an error, where a GPU would hang or do as it likes.
//
// Only what the kernels use is here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned x, y, z;
};

// Those of the fiber that runs.
extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

void __syncthreads();

namespace ivit::cuda::emulator {

constexpr int kWarp = 32;

// Runs `body` once for every thread of every block. Throws std::runtime_error for a mistake of the kernel.
void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

void* block_shared_memory();

// The lane of the fiber that runs.
int lane();

// Waits until all 32 lanes of the warp have come here with an operand each; the last one to come then calls
// resolve(context, operands, results), and every lane goes on with its result. `operation` names the operation: lanes
// that wait at different ones are an error.
using Resolve = void (*)(const void* context, const void* operands, void* results);
void warp_operation(const char* operation, const void* operand, size_t operand_size, void* result, size_t result_size,
                    Resolve resolve, const void* context);

// The same with types: resolve(const In* operands, Out* results) on arrays of 32.
template <class Out, class In, class F>
Out warp_operation(const char* operation, const In& operand, const F& resolve) {
  static_assert(std::is_trivially_copyable_v<In> && std::is_trivially_copyable_v<Out>);
  Out result;
  warp_operation(
      operation, &operand, sizeof operand, &result, sizeof result,
      [](const void* context, const void* operands, void* results) {
        (*static_cast<const F*>(context))(static_cast<const In*>(operands), static_cast<Out*>(results));
      },
      &resolve);
  return result;
}

// The asynchronous copies of a thread. They happen as late as the waits allow, or at once: that changes from launch to
// launch too.
void copy_async(void* shared, const void* global, size_t bytes, size_t valid_bytes);
void commit_copies();
void wait_for_copies(int pending_groups);

// Ends the launch with an error.
[[noreturn]] void fail(const char* message);

}  // namespace ivit::cuda::emulator

// -- warp functions and arithmetic of the CUDA language

inline void __syncwarp(unsigned = 0xffffffffu) {
  ivit::cuda::emulator::warp_operation<char>("__syncwarp", char{0}, [](const char*, char*) {});
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ivit::cuda::emulator::warp_operation<T>("__shfl_xor_sync", value, [mask](const T* in, T* out) {
    for (int i = 0; i < ivit::cuda::emulator::kWarp; ++i) out[i] = in[i ^ mask];
  });
}

template <class T>
T __shfl_sync(unsigned, T value, int source) {
  struct Operand {
    T value;
    int source;
  };
  return ivit::cuda::emulator::warp_operation<T>("__shfl_sync", Operand{value, source}, [](const Operand* in, T* out) {
    for (int i = 0; i < ivit::cuda::emulator::kWarp; ++i) out[i] = in[in[i].source % 32].value;
  });
}

// Bytes of {y, x} (x the lower four), chosen by the four nibbles of the selector; the sign bit of a nibble, which
// replicates the sign, is not supported.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 255) << (8 * i);
  return result;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

namespace ivit::cuda {

template <class T>
T* shared_memory() {
  return static_cast<T*>(emulator::block_shared_memory());
}

}  // namespace ivit::cuda
