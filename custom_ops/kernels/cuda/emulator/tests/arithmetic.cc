// The arithmetic that kernels write in their own way, against its definition.
#include "kernels/common/deferred.h"
#include "kernels/common/dyadic.h"
#include "kernels/common/layer_norm.h"
#include "kernels/cuda/attention_deferred.h"
#include "kernels/cuda/emulator/tests/check.h"
#include "kernels/cuda/newton_sqrt.h"
#include "kernels/cuda/vectors.h"

namespace ivit::cuda {
namespace {

void check_root(uint64_t radicand) {
  const int64_t wanted = newton_sqrt(static_cast<int64_t>(radicand));
  check_equal(static_cast<int64_t>(newton_root(radicand)), wanted, "root of " + std::to_string(radicand));
}

void newton_root_is_exact() {
  for (uint64_t radicand = 0; radicand < (1u << 20); ++radicand) check_root(radicand);
  // Squares and their neighbours, where the last steps go to and fro.
  std::mt19937_64 random(1);
  for (int i = 0; i < 300000; ++i) {
    const uint64_t root = (random() >> 33) >> (random() % 26);
    for (int64_t by = -2; by <= 2; ++by) {
      const int64_t radicand = static_cast<int64_t>(root * root + (i % 2) * 2 * root) + by;
      if (radicand >= 0) check_root(static_cast<uint64_t>(radicand));
    }
    check_root((random() >> 1) >> (random() % 63));
  }
  for (int bit = 0; bit < 63; ++bit) {
    for (uint64_t by = 0; by < 3; ++by) check_root((uint64_t{1} << bit) - 1 + by);
  }
  check_root(INT64_MAX);
}

void mean_is_rounded_half_to_even() {
  std::mt19937_64 random(2);
  for (int32_t count = 1; count <= 65535; count += count < 2100 ? 1 : 977) {
    for (int i = 0; i < 200; ++i) {
      const int64_t limit = int64_t{32768} * count;
      int32_t sum = static_cast<int32_t>(static_cast<int64_t>(random() % static_cast<uint64_t>(2 * limit)) - limit);
      if (i % 2 == 0) sum = sum / count * count + count / 2;
      if (sum < -limit || sum > limit) continue;
      const std::string what = "mean of " + std::to_string(sum) + " / " + std::to_string(count);
      check_equal(mean_of(sum, count), round_half_even_divide(sum, count), what);
    }
  }
}

void packing_saturates() {
  std::mt19937_64 random(3);
  for (int i = 0; i < 10000; ++i) {
    int32_t values[4];
    for (int32_t& value : values) value = static_cast<int32_t>(random()) >> (random() % 32);
    const uint32_t bytes = pack_int8(values[0], values[1], values[2], values[3]);
    const uint32_t halves = pack_int16(values[0], values[1]);
    for (int j = 0; j < 4; ++j) {
      check_equal(static_cast<int8_t>(byte_of(bytes, j)), saturate<int8_t>(values[j]), "pack_int8");
    }
    check_equal(low_half(halves), saturate<int16_t>(values[0]), "pack_int16, first");
    check_equal(high_half(halves), saturate<int16_t>(values[1]), "pack_int16, second");
  }
}

// The exponential of an entry for a token, as a word's upper byte or its upper two.
uint32_t packed_exponential(uint32_t entry, uint32_t token, bool split) {
  if (split) return (entry + attention::dither_of<true>(token)) >> 16;
  return (entry + attention::dither_of<false>(token)) >> 24;
}

void deferred_exponentials_are_exact() {
  std::mt19937_64 random(5);
  for (int level_bits = 7; level_bits <= 15; ++level_bits) {
    int16_t exponential = 0;
    const DeferredSoftmax softmax{&exponential, 0, 1, level_bits};
    const bool split = attention::is_split(level_bits);
    const auto check_token = [&](uint32_t token) {
      const uint32_t entry = attention::deferred_entry(exponential, level_bits);
      check_equal(packed_exponential(entry, token, split), static_cast<uint32_t>(softmax.exponential(0, token)),
                  std::to_string(exponential) + ", token " + std::to_string(token));
    };
    for (int32_t value = 0; value <= INT16_MAX; ++value) {
      exponential = static_cast<int16_t>(value);
      for (int i = 0; i < 20; ++i) check_token(static_cast<uint32_t>(random() % (1u << 17)));
    }
    // Every token that a row may have, beside an exponential that each dither may lift.
    exponential = static_cast<int16_t>((1 << (15 - level_bits)) - 1);
    for (uint32_t token = 0; token < (1u << (24 - level_bits)); ++token) check_token(token);
  }
}

// Every thread adds up with the others in each of the ways there are.
template <int kCount>
void reduce_kernel(const int64_t* values, int64_t* sums, int64_t* block_sums) {
  int64_t own[kCount];
  const int64_t thread = int64_t{threadIdx.x};
  for (int i = 0; i < kCount; ++i) own[i] = values[thread * kCount + i];
  const int64_t first = own[0];
  sums[thread] = reduce_together(own);
  block_sums[thread] = reduce_block(first, Add{}, shared_memory<int64_t>());
}

template <int kCount>
void check_reductions(std::mt19937_64& random) {
  const int threads = 96;
  std::vector<int64_t> values(threads * kCount);
  for (int64_t& value : values) value = static_cast<int64_t>(random()) >> 10;
  const DeviceArray<int64_t> device(values);
  DeviceArray<int64_t> sums(threads), block_sums(threads);
  launch(reduce_kernel<kCount>, {dim3(1), threads, 3 * sizeof(int64_t), nullptr}, device.get(), sums.get(),
         block_sums.get());
  std::vector<int64_t> wanted(threads, 0), all(threads, 0);
  for (int thread = 0; thread < threads; ++thread) {
    const int which = thread % 32 / (32 / kCount);
    for (int lane = 0; lane < 32; ++lane) wanted[thread] += values[(thread / 32 * 32 + lane) * kCount + which];
    for (int other = 0; other < threads; ++other) all[thread] += values[other * kCount];
  }
  check_arrays(to_host(sums), wanted, "sums of " + std::to_string(kCount));
  check_arrays(to_host(block_sums), all, "sums of a block");
}

void reductions_add_up() {
  std::mt19937_64 random(4);
  for (int i = 0; i < 5; ++i) {
    check_reductions<1>(random);
    check_reductions<2>(random);
    check_reductions<4>(random);
    check_reductions<32>(random);
  }
}

}  // namespace

std::vector<Test> arithmetic_tests() {
  return {{"newton_root", newton_root_is_exact},
          {"mean", mean_is_rounded_half_to_even},
          {"packing", packing_saturates},
          {"deferred_exponentials", deferred_exponentials_are_exact},
          {"reductions", reductions_add_up}};
}

}  // namespace ivit::cuda
