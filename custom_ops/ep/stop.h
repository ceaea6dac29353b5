// Whether a run should stop, because its caller has set the terminate flag of the run's options.
//
// ONNX Runtime looks at the flag between two nodes, and a compiled graph is one node. It does not show the flag to
// providers either. What it does offer: a run with the same options ends with an error if the flag is set. So a model
// of one node is run with them, rarely enough to cost nothing.
#pragma once

#include <onnxruntime_c_api.h>

#include <chrono>

namespace ivit::ep {

class Stop {
 public:
  // Said by ONNX Runtime on the thread that runs: the options of its run from now on; null when it has ended.
  static void set_run_options(const OrtRunOptions* options) noexcept;

  // For a run on this thread.
  Stop();

  // Whether to stop; once true, always. Looks at the flag when the last look was some milliseconds ago, so it may be
  // called as often as one likes. For one thread at a time.
  bool wanted();

 private:
  const OrtRunOptions* options_;
  std::chrono::steady_clock::time_point next_look_;
  bool wanted_ = false;
};

}  // namespace ivit::ep
