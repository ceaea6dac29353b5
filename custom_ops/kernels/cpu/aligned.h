// Memory for vector kernels: uninitialised, aligned, sized once.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace ivit::cpu {

constexpr std::align_val_t kCacheLine{64};

struct AlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, kCacheLine); }
};

// Bytes that the thread has taken for arrays so far; what is made in between is told by the difference.
inline thread_local int64_t allocated_bytes = 0;

// `count` elements of a plain type. Kernels may read up to 64 bytes past the end of one.
template <class T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(int64_t count)
      : data_(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T) + 64, kCacheLine))) {
    allocated_bytes += count * static_cast<int64_t>(sizeof(T)) + 64;
  }

  T* get() const { return data_.get(); }
  T& operator[](int64_t index) const { return data_.get()[index]; }

 private:
  std::unique_ptr<T[], AlignedDelete> data_;
};

// Scratch memory that a thread keeps between calls: it only ever grows, to the largest that was asked for, and spares
// the page faults of fresh memory. One function uses one of these, as a thread_local variable.
template <class T>
class Scratch {
 public:
  T* get(int64_t count) {
    if (count > capacity_) {
      memory_ = AlignedArray<T>(count);
      capacity_ = count;
    }
    return memory_.get();
  }

 private:
  AlignedArray<T> memory_;
  int64_t capacity_ = 0;
};

}  // namespace ivit::cpu
