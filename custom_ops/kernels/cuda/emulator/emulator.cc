// Fibers are started with ucontext and switched with setjmp and longjmp, which make no system call.
#include "kernels/cuda/emulator/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace ivit::cuda::emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kOperandBytes = 64;
constexpr size_t kSharedAlignment = 1024;
// Bytes behind the shared memory that no one may change.
constexpr size_t kSharedMargin = 1024;

enum class State { kReady, kAtBlockBarrier, kAtWarpOperation, kFinished };

struct Copy {
  void* shared;
  const void* global;
  size_t bytes;
  size_t valid_bytes;
};

struct Fiber {
  ucontext_t context;
  jmp_buf registers;
  bool started = false;
  std::unique_ptr<char[]> stack;
  State state = State::kFinished;
  unsigned index = 0;
  // Groups of copies under way; the last one is open.
  std::vector<std::vector<Copy>> copies;
};

// Operands and results of the warp operation under way. There are two of them, used in turn: a lane that goes on early
// may give the next operand while others still read.
struct Exchange {
  alignas(16) char operands[kWarp * kOperandBytes];
  alignas(16) char results[kWarp * kOperandBytes];
};

struct Warp {
  Exchange exchanges[2];
  int turn = 0;
  int arrived = 0;
  const char* operation = nullptr;
};

// One block. It lives in an operating-system thread and is used again by every block and launch of it.
class Block {
 public:
  void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

  void barrier();
  void operation(const char* name, const void* operand, size_t operand_size, void* result, size_t result_size,
                 Resolve resolve, const void* context);
  [[noreturn]] void fail(const std::string& message);

  int lane() const { return static_cast<int>(current_->index % kWarp); }
  void* shared() { return shared_; }
  Fiber& current() { return *current_; }
  bool late_copies() const { return late_copies_; }

 private:
  static void start();
  void prepare(unsigned threads, size_t shared_bytes);
  void run_block();
  void resume(Fiber& fiber);
  void yield(State state);

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Warp> warps_;
  std::vector<unsigned> order_;
  std::vector<char> memory_;
  void* shared_ = nullptr;
  size_t shared_bytes_ = 0;
  unsigned threads_ = 0;
  dim3 block_dim_;
  Fiber* current_ = nullptr;
  jmp_buf scheduler_;
  ucontext_t scheduler_context_;
  const std::function<void()>* body_ = nullptr;
  std::string error_;
  std::mt19937 random_;
  bool late_copies_ = true;
};

thread_local Block block;

unsigned next_seed() {
  static std::atomic<unsigned> seed{[] {
    const char* given = std::getenv("IVIT_EMULATOR_SEED");
    return given == nullptr ? 1u : static_cast<unsigned>(std::strtoul(given, nullptr, 10));
  }()};
  return seed++;
}

void perform(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    std::memcpy(copy.shared, copy.global, copy.valid_bytes);
    std::memset(static_cast<char*>(copy.shared) + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
  }
}

void Block::prepare(unsigned threads, size_t shared_bytes) {
  threads_ = threads;
  while (fibers_.size() < threads) {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    fiber.index = static_cast<unsigned>(fibers_.size() - 1);
    fiber.stack = std::make_unique<char[]>(kStackBytes);
  }
  warps_.resize((threads + kWarp - 1) / kWarp);
  order_.resize(threads);
  std::iota(order_.begin(), order_.end(), 0u);
  memory_.resize(shared_bytes + kSharedAlignment + kSharedMargin);
  const size_t address = reinterpret_cast<size_t>(memory_.data());
  shared_ = memory_.data() + (kSharedAlignment - address % kSharedAlignment) % kSharedAlignment;
  shared_bytes_ = shared_bytes;
}

void Block::run(dim3 grid, dim3 block_dim, size_t shared_bytes, const std::function<void()>& body) {
  const unsigned threads = block_dim.x * block_dim.y * block_dim.z;
  if (threads == 0 || threads > 1024) throw std::runtime_error("emulator: a block has 1 to 1024 threads");
  if (threads % kWarp != 0) throw std::runtime_error("emulator: a block has whole warps");
  prepare(threads, shared_bytes);
  const unsigned seed = next_seed();
  random_.seed(seed);
  late_copies_ = seed % 4 != 0;
  body_ = &body;
  block_dim_ = block_dim;
  blockDim = block_dim;
  gridDim = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        const char rubbish = static_cast<char>(random_() & 255);
        std::memset(shared_, rubbish, shared_bytes_ + kSharedMargin);
        run_block();
        const char* const margin = static_cast<const char*>(shared_) + shared_bytes_;
        if (std::count(margin, margin + kSharedMargin, rubbish) != kSharedMargin) {
          throw std::runtime_error("emulator: the block has written behind its shared memory");
        }
      }
    }
  }
}

void Block::run_block() {
  error_.clear();
  for (Warp& warp : warps_) warp = {};
  for (unsigned i = 0; i < threads_; ++i) {
    fibers_[i]->state = State::kReady;
    fibers_[i]->copies.assign(1, {});
  }
  for (;;) {
    // Whole warps in any order, and lanes in any order inside a warp.
    std::shuffle(order_.begin(), order_.end(), random_);
    bool progress = false;
    unsigned waiting = 0;
    unsigned finished = 0;
    for (const unsigned index : order_) {
      Fiber& fiber = *fibers_[index];
      if (fiber.state == State::kReady) {
        resume(fiber);
        progress = true;
        if (!error_.empty()) {
          // Fibers left in the middle are abandoned: they start anew.
          for (unsigned i = 0; i < threads_; ++i) fibers_[i]->started = false;
          throw std::runtime_error("emulator: " + error_);
        }
      }
    }
    for (unsigned i = 0; i < threads_; ++i) {
      waiting += fibers_[i]->state == State::kAtBlockBarrier;
      finished += fibers_[i]->state == State::kFinished;
    }
    if (finished == threads_) return;
    if (waiting == threads_) {
      for (unsigned i = 0; i < threads_; ++i) fibers_[i]->state = State::kReady;
      progress = true;
    }
    if (!progress) {
      for (unsigned i = 0; i < threads_; ++i) fibers_[i]->started = false;
      throw std::runtime_error("emulator: some threads wait at a barrier that others never reach");
    }
  }
}

// The body of every fiber, over and over.
void Block::start() {
  Block* self = &block;
  for (;;) {
    (*self->body_)();
    self->yield(State::kFinished);
  }
}

void Block::resume(Fiber& fiber) {
  current_ = &fiber;
  const unsigned index = fiber.index;
  threadIdx = dim3(index % block_dim_.x, index / block_dim_.x % block_dim_.y, index / block_dim_.x / block_dim_.y);
  if (_setjmp(scheduler_) != 0) return;
  if (fiber.started) _longjmp(fiber.registers, 1);
  fiber.started = true;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &Block::start, 0);
  setcontext(&fiber.context);
}

void Block::yield(State state) {
  current_->state = state;
  if (_setjmp(current_->registers) == 0) _longjmp(scheduler_, 1);
}

void Block::fail(const std::string& message) {
  error_ = message;
  _longjmp(scheduler_, 1);
}

void Block::barrier() { yield(State::kAtBlockBarrier); }

void Block::operation(const char* name, const void* operand, size_t operand_size, void* result, size_t result_size,
                      Resolve resolve, const void* context) {
  if (operand_size > kOperandBytes || result_size > kOperandBytes) fail("operand of a warp operation is too large");
  Warp& warp = warps_[current_->index / kWarp];
  if (warp.arrived > 0 && std::strcmp(warp.operation, name) != 0) {
    fail(std::string("lanes of a warp wait at ") + warp.operation + " and at " + name);
  }
  warp.operation = name;
  Exchange& exchange = warp.exchanges[warp.turn];
  const size_t lane = current_->index % kWarp;
  std::memcpy(exchange.operands + lane * operand_size, operand, operand_size);
  if (++warp.arrived == kWarp) {
    resolve(context, exchange.operands, exchange.results);
    warp.arrived = 0;
    warp.turn ^= 1;
    const unsigned first = current_->index / kWarp * kWarp;
    for (unsigned i = first; i < first + kWarp; ++i) fibers_[i]->state = State::kReady;
  } else {
    yield(State::kAtWarpOperation);
  }
  std::memcpy(result, exchange.results + lane * result_size, result_size);
}

}  // namespace

void run(dim3 grid, dim3 block_dim, size_t shared_bytes, const std::function<void()>& body) {
  block.run(grid, block_dim, shared_bytes, body);
}

void* block_shared_memory() { return block.shared(); }

int lane() { return block.lane(); }

void warp_operation(const char* operation, const void* operand, size_t operand_size, void* result, size_t result_size,
                    Resolve resolve, const void* context) {
  block.operation(operation, operand, operand_size, result, result_size, resolve, context);
}

void copy_async(void* shared, const void* global, size_t bytes, size_t valid_bytes) {
  if (reinterpret_cast<size_t>(shared) % bytes != 0 || reinterpret_cast<size_t>(global) % bytes != 0) {
    fail("an asynchronous copy is not aligned");
  }
  block.current().copies.back().push_back({shared, global, bytes, valid_bytes});
  if (!block.late_copies()) perform({block.current().copies.back().back()});
}

void commit_copies() { block.current().copies.emplace_back(); }

void wait_for_copies(int pending_groups) {
  auto& groups = block.current().copies;
  while (static_cast<int>(groups.size()) - 1 > pending_groups) {
    if (block.late_copies()) perform(groups.front());
    groups.erase(groups.begin());
  }
}

void fail(const char* message) { block.fail(message); }

}  // namespace ivit::cuda::emulator

void __syncthreads() { ivit::cuda::emulator::block.barrier(); }
