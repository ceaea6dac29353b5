// Sizes of registers and of what an instruction takes together.
#pragma once

#include <cstdint>

namespace ivit::cpu::avx512vnni {

// 32-bit lanes of a register.
constexpr int64_t kLanes = 16;
// Bytes of a register.
constexpr int64_t kChunk = 64;
// Bytes that vpdpbusd multiplies for one lane: values of a column that stand together.
constexpr int64_t kGroup = 4;

}  // namespace ivit::cpu::avx512vnni
