#include "ep/stop.h"

#include <cstdint>
#include <memory>
#include <string>

#include "ep/options.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;

// Between two looks at the flag. A look takes some 20 microseconds.
constexpr std::chrono::milliseconds kInterval(5);

// The options of the run on this thread.
thread_local const OrtRunOptions* run_options = nullptr;

// An ONNX file: y = Identity(x), uint8 [1], operator set 13.
constexpr char kModel[] =
    "\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y\"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x02\x12\x04\n\x02"
    "\x08\x01"
    "b\x0f\n\x01y\x12\n\n\x08\x08\x02\x12\x04\n\x02\x08\x01"
    "B\x04\n\x00\x10\r";

template <class T>
using Owner = std::unique_ptr<T, void (*)(T*)>;

// A session of that model, on the calling thread alone.
class Probe {
 public:
  Probe() {
    OrtEnv* env = nullptr;  // the environment of the process, which there is already
    check(api().CreateEnv(ORT_LOGGING_LEVEL_FATAL, "ivit", &env));
    const Owner<OrtEnv> env_owner(env, [](OrtEnv* owned) { api().ReleaseEnv(owned); });
    OrtSessionOptions* options = nullptr;
    check(api().CreateSessionOptions(&options));
    const Owner<OrtSessionOptions> options_owner(options,
                                                 [](OrtSessionOptions* owned) { api().ReleaseSessionOptions(owned); });
    check(api().SetIntraOpNumThreads(options, 1));
    check(api().SetInterOpNumThreads(options, 1));
    check(api().SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_FATAL));
    check(api().CreateSessionFromArray(env, kModel, sizeof kModel - 1, options, &session_));
    OrtMemoryInfo* memory = nullptr;
    check(api().CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    const Owner<OrtMemoryInfo> memory_owner(memory, [](OrtMemoryInfo* owned) { api().ReleaseMemoryInfo(owned); });
    check(api().CreateTensorWithDataAsOrtValue(memory, &byte_, 1, kShape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
                                               &input_));
    if (!ends_early(nullptr)) return;
    throw ort::RuntimeFailure("a run without options ended early");
  }

  // Whether a run with these options ends because they say so.
  bool ends_early(const OrtRunOptions* options) const {
    const char* const input = "x";
    const char* const output = "y";
    OrtValue* result = nullptr;
    OrtStatus* status = api().Run(session_, options, &input, &input_, 1, &output, 1, &result);
    if (status == nullptr) {
      api().ReleaseValue(result);
      return false;
    }
    // The options may be of no use for this model for other reasons.
    const bool early = std::string(api().GetErrorMessage(status)).find("terminate") != std::string::npos;
    api().ReleaseStatus(status);
    return early;
  }

 private:
  static constexpr int64_t kShape[] = {1};
  uint8_t byte_ = 0;
  OrtSession* session_ = nullptr;
  OrtValue* input_ = nullptr;
};

// Null if there can be none; runs then end by themselves. Never destroyed: runs may go on while the process ends.
const Probe* probe() {
  static const Probe* const only = []() -> const Probe* {
    try {
      return new Probe();
    } catch (const std::exception& error) {
      log(std::string("runs cannot be stopped: ") + error.what());
      return nullptr;
    }
  }();
  return only;
}

}  // namespace

void Stop::set_run_options(const OrtRunOptions* options) noexcept { run_options = options; }

Stop::Stop() : options_(run_options), next_look_(std::chrono::steady_clock::now() + kInterval) {}

bool Stop::wanted() {
  if (wanted_ || options_ == nullptr || std::chrono::steady_clock::now() < next_look_) return wanted_;
  wanted_ = probe() != nullptr && probe()->ends_early(options_);
  next_look_ = std::chrono::steady_clock::now() + kInterval;
  return wanted_;
}

}  // namespace ivit::ep
