// Runs a session of the execution provider before and after what it came from is gone.
//
//     outlive MODEL LIBRARY library|environment|process
//
// The session outlives the registration of the library, the environment, or main. Prints the first logit before and
// after, where there is an after.
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr const char* kProvider = "IVitExecutionProvider";

std::unique_ptr<Ort::Env> environment;
std::unique_ptr<Ort::Session> session;

void run() {
  std::vector<uint8_t> pixels(2 * 3 * 32 * 32, 1);
  const int64_t shape[] = {2, 3, 32, 32};
  const Ort::Value input =
      Ort::Value::CreateTensor<uint8_t>(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeCPU), pixels.data(),
                                        pixels.size(), shape, std::size(shape));
  const char* const inputs[] = {"image"};
  const char* const outputs[] = {"logits"};
  const std::vector<Ort::Value> results = session->Run(Ort::RunOptions(), inputs, &input, 1, outputs, 1);
  std::printf("%d\n", results[0].GetTensorData<int32_t>()[0]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const std::string outlived = arguments[3];
  environment = std::make_unique<Ort::Env>();
  environment->RegisterExecutionProviderLibrary(kProvider, arguments[2]);
  {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    for (const Ort::ConstEpDevice& device : environment->GetEpDevices()) {
      if (std::strcmp(device.EpName(), kProvider) != 0) continue;
      options.AppendExecutionProvider_V2(*environment, {device}, Ort::KeyValuePairs());
      break;
    }
    session = std::make_unique<Ort::Session>(*environment, arguments[1], options);
  }
  run();
  if (outlived == "process") return 0;  // the session goes with the other static objects
  if (outlived == "environment") {
    environment.reset();
  } else {
    environment->UnregisterExecutionProviderLibrary(kProvider);
  }
  run();
  session.reset();
}
