// Memory at chosen places of the span of 4096 bytes: a load that has the last 12 bits of its address in common with a
// store still under way waits for it.
#pragma once

#include <cstdint>

#include "kernels/common/integer.h"
#include "kernels/cpu/aligned.h"

namespace ivit::cpu::avx512vnni {

// What a thread keeps from task to task. What products read starts at place 0; what is stored just before, or between
// two of them, stands half a span away.
class SpanMemory {
 public:
  static constexpr int64_t kSpan = 4096;

  // Makes room for `spans` and begins anew.
  void reset(int64_t spans) {
    if (spans > spans_) {
      memory_ = AlignedArray<uint8_t>((spans + 1) * kSpan);
      spans_ = spans;
    }
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    next_ = memory_.get() + (kSpan - address % kSpan) % kSpan;
  }
  // Memory for `count` elements from `place` of a new span on.
  template <class T>
  T* take(int64_t count, int64_t place) {
    T* taken = reinterpret_cast<T*>(next_ + place);
    next_ += spans_of<T>(count, place) * kSpan;
    return taken;
  }
  template <class T>
  static constexpr int64_t spans_of(int64_t count, int64_t place) {
    return divide_up(place + count * static_cast<int64_t>(sizeof(T)), kSpan);
  }

 private:
  AlignedArray<uint8_t> memory_;
  uint8_t* next_ = nullptr;
  int64_t spans_ = 0;
};

}  // namespace ivit::cpu::avx512vnni
