#include "ep/options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/processors.h"
#include "ort/status.h"

namespace ivit::ep {
namespace {

using ort::api;
using ort::check;

// What asks for a context model: a file with what the provider compiled.
constexpr const char* kContextEnable = "ep.context_enable";

struct Option {
  const char* name;
  int64_t minimum;
  int64_t maximum;
  int64_t Options::* value;
};

constexpr Option kOptions[] = {{"threads", 1, 1024, &Options::threads},
                               {"max_batch", 0, 1 << 20, &Options::max_batch},
                               {"profile", 0, 1, &Options::profile},
                               {"cuda_graph", 0, 1, &Options::cuda_graph}};

using Entries = std::unique_ptr<OrtKeyValuePairs, void (*)(OrtKeyValuePairs*)>;

Entries entries_of(const OrtSessionOptions* options) {
  OrtKeyValuePairs* made = nullptr;
  check(api().GetSessionOptionsConfigEntries(options, &made));
  return {made, [](OrtKeyValuePairs* owned) { api().ReleaseKeyValuePairs(owned); }};
}

[[noreturn]] void fail(const std::string& option, const std::string& expected, const std::string& found) {
  throw ort::InvalidArgument("ivit: " + option + ": expected " + expected + ", found '" + found + "'");
}

int64_t number(const Option& option, const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < option.minimum || value > option.maximum) {
    fail("provider option " + std::string(option.name),
         std::to_string(option.minimum) + ".." + std::to_string(option.maximum), text);
  }
  return value;
}

// Characters to insert, leave out or replace until `a` is `b`.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t corner = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = corner + (a[i - 1] == b[j - 1] ? 0 : 1);
      corner = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

[[noreturn]] void fail_unknown(const std::string& name) {
  const Option* nearest = std::min_element(std::begin(kOptions), std::end(kOptions), [&](const auto& a, const auto& b) {
    return edit_distance(a.name, name) < edit_distance(b.name, name);
  });
  std::string known;
  for (const Option& option : kOptions) known += (known.empty() ? "" : ", ") + std::string(option.name);
  const bool near = 2 * edit_distance(nearest->name, name) <= name.size();
  fail("provider option", "one of " + known + (near ? " (did you mean " + std::string(nearest->name) + "?)" : ""),
       name);
}

const Option& option_named(const std::string& name) {
  for (const Option& option : kOptions) {
    if (name == option.name) return option;
  }
  fail_unknown(name);
}

}  // namespace

Options read_options(const OrtSessionOptions* session_options, const char* provider) {
  Options options;
  options.threads = cpu::processors();
  // "ep.<provider>.<name>", the provider in lower case.
  std::string prefix = "ep." + std::string(provider) + ".";
  std::transform(prefix.begin(), prefix.end(), prefix.begin(), [](unsigned char c) { return std::tolower(c); });
  const Entries entries = entries_of(session_options);
  const char* const* keys = nullptr;
  const char* const* values = nullptr;
  size_t count = 0;
  api().GetKeyValuePairs(entries.get(), &keys, &values, &count);
  for (size_t i = 0; i < count; ++i) {
    const std::string key = keys[i];
    if (key == kContextEnable && std::strcmp(values[i], "0") != 0) {
      fail("session option " + key,
           "0: this provider compiles a graph whenever a session starts, and makes no context "
           "models",
           values[i]);
    }
    if (key.compare(0, prefix.size(), prefix) != 0) continue;
    const Option& option = option_named(key.substr(prefix.size()));
    options.*option.value = number(option, values[i]);
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
