#include "ep/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;

// The value of "ep.<provider>.<name>", the provider in lower case.
std::optional<std::string> entry(const OrtSessionOptions* options, const char* provider, const char* name) {
  std::string key = "ep." + std::string(provider) + "." + name;
  std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) { return std::tolower(c); });
  int has = 0;
  check(api().HasSessionConfigEntry(options, key.c_str(), &has));
  if (has == 0) return std::nullopt;
  size_t size = 0;
  check(api().GetSessionConfigEntry(options, key.c_str(), nullptr, &size));
  std::string value(size, '\0');
  check(api().GetSessionConfigEntry(options, key.c_str(), value.data(), &size));
  value.resize(size - 1);  // without the terminating zero
  return value;
}

[[noreturn]] void fail(const char* name, const std::string& expected, const std::string& found) {
  throw ort::InvalidArgument("ivit: provider option " + std::string(name) + ": expected " + expected + ", found '" +
                             found + "'");
}

int64_t number(const char* name, const std::string& text, int64_t minimum, int64_t maximum) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < minimum || value > maximum) {
    fail(name, std::to_string(minimum) + ".." + std::to_string(maximum), text);
  }
  return value;
}

}  // namespace

Options read_options(const OrtSessionOptions* session_options, const char* provider) {
  Options options;
  options.threads = std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (const auto text = entry(session_options, provider, "threads")) {
    options.threads = number("threads", *text, 1, 1024);
  }
  if (const auto text = entry(session_options, provider, "max_batch")) {
    options.max_batch = number("max_batch", *text, 0, 1 << 20);
  }
  if (const auto text = entry(session_options, provider, "profile")) {
    options.profile = number("profile", *text, 0, 1) != 0;
  }
  if (const auto text = entry(session_options, provider, "cuda_graph")) {
    options.cuda_graph = number("cuda_graph", *text, 0, 1) != 0;
  }
  return options;
}

bool log_wanted() {
  const char* wanted = std::getenv("IVIT_EP_LOG");
  return wanted != nullptr && std::strcmp(wanted, "1") == 0;
}

void log(const std::string& line) {
  if (log_wanted()) std::fprintf(stderr, "ivit: %s\n", line.c_str());
}

}  // namespace ivit::ep
