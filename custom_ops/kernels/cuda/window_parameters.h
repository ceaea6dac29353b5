// What attention in windows needs beside the parameters of every attention.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/common/window_grid.h"

namespace ivit::cuda {

// Pointers are of the device.
struct WindowParameters {
  WindowGrid grid;
  const int8_t* padding;  // [3, heads, head_dim], for every place without a token
  const int16_t* bias;    // of window_bias()
};

// The relative position bias of every query and key of a window, for the kernels' lanes: [heads, groups of 16 queries,
// steps of 32 keys, halves of a step, lanes, rows of a lane, 4], the last ones in the order of element_key. Padded with
// zeros. `relative_position` is [(2 * window - 1)^2, heads].
std::vector<int16_t> window_bias(const WindowGrid& grid, int64_t heads, const int16_t* relative_position);

}  // namespace ivit::cuda
