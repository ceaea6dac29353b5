// Classifies images with the compiled graph of an exported model, in C++.
//
//     classify MODEL LIBRARY [cpu|cuda] < IMAGES
//
// MODEL is an exported file, LIBRARY libivit_ort.so (python -c 'import ivit_onnx; print(ivit_onnx.library_path())').
// IMAGES are pixels as the model takes them, uint8 [N, 3, H, W], without a header. Prints the class of each image and
// its logits.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr const char* kProvider = "IVitExecutionProvider";

// The provider's device of that kind. It is not there if, for "cuda", there is no GPU or no driver.
Ort::ConstEpDevice find_device(const Ort::Env& env, const std::string& kind) {
  for (const Ort::ConstEpDevice& device : env.GetEpDevices()) {
    if (std::strcmp(device.EpName(), kProvider) == 0 && kind == device.EpMetadata().GetValue("device")) return device;
  }
  throw std::runtime_error(std::string(kProvider) + " has no device '" + kind + "' here");
}

int classify(const std::string& model, const std::string& library, const std::string& kind) {
  Ort::Env env;
  env.RegisterExecutionProviderLibrary(kProvider, library);
  Ort::SessionOptions options;
  options.AppendExecutionProvider_V2(env, {find_device(env, kind)}, Ort::KeyValuePairs());
  Ort::Session session(env, model.c_str(), options);

  // The input is [batch, 3, H, W]; the batch is as large as the data.
  std::vector<int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  std::vector<char> pixels{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  const size_t image_bytes = static_cast<size_t>(shape[1] * shape[2] * shape[3]);
  if (pixels.empty() || pixels.size() % image_bytes != 0) {
    std::cerr << "expected whole images of " << shape[1] << " x " << shape[2] << " x " << shape[3] << " bytes, found "
              << pixels.size() << " bytes\n";
    return 2;
  }
  shape[0] = static_cast<int64_t>(pixels.size() / image_bytes);
  const Ort::Value input = Ort::Value::CreateTensor<uint8_t>(
      Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeCPU), reinterpret_cast<uint8_t*>(pixels.data()),
      pixels.size(), shape.data(), shape.size());
  Ort::AllocatorWithDefaultOptions allocator;
  const Ort::AllocatedStringPtr input_name = session.GetInputNameAllocated(0, allocator);
  const Ort::AllocatedStringPtr output_name = session.GetOutputNameAllocated(0, allocator);
  const char* const inputs[] = {input_name.get()};
  const char* const outputs[] = {output_name.get()};
  const std::vector<Ort::Value> results = session.Run(Ort::RunOptions(), inputs, &input, 1, outputs, 1);

  const int64_t classes = results[0].GetTensorTypeAndShapeInfo().GetShape()[1];
  const int32_t* logits = results[0].GetTensorData<int32_t>();
  for (int64_t image = 0; image < shape[0]; ++image, logits += classes) {
    std::cout << std::max_element(logits, logits + classes) - logits << ":";
    for (int64_t i = 0; i < classes; ++i) std::cout << " " << logits[i];
    std::cout << "\n";
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3 || count > 4) {
    std::cerr << "usage: classify MODEL LIBRARY [cpu|cuda] < IMAGES\n";
    return 2;
  }
  try {
    return classify(arguments[1], arguments[2], count == 4 ? arguments[3] : "cpu");
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
