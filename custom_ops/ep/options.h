// The provider's options, as a session's configuration holds them.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstdint>
#include <string>

namespace ivit::ep {

struct Options {
  // Threads that a run may use; by default one for each processor that the process may keep busy. No more than the
  // session's pool has.
  int64_t threads = 1;
  // The largest batch that runs are promised to have: a larger one is an error, and memory for it is taken when the
  // model is loaded. 0 promises nothing; memory then grows with the largest batch seen.
  int64_t max_batch = 0;
  // Writes the time of every operator when the session ends.
  int64_t profile = 0;
  // Whether a GPU runs a recording of the graph, one for each batch size.
  int64_t cuda_graph = 1;
  // The number of the GPU; given by the chosen device, not by the user.
  int device_id = 0;
};

// Throws InvalidArgument for a value that is not allowed, for an option that there is not, and where a context model is
// asked for.
Options read_options(const OrtSessionOptions* session_options, const char* provider);

// Whether IVIT_EP_LOG=1 asks for the reasons of what the provider does.
bool log_wanted();

// Writes a line to the standard error stream, if it is wanted.
void log(const std::string& line);

}  // namespace ivit::ep
