// IntAttention, IntDeferredAttention: multi-head self-attention on packed queries, keys and values.
#pragma once

#include <cstdint>

#include "kernels/common/deferred.h"
#include "kernels/common/dyadic.h"
#include "kernels/common/softmax.h"
#include "kernels/cpu/parallel.h"

namespace ivit::cpu {

struct Attention {
  int64_t images;
  int64_t tokens;
  int64_t heads;
  int64_t head_dim;
  Dyadic score_scale;
  Dyadic context_scale;
  const Softmax& softmax;
};

// The same with deferred normalisation.
struct DeferredAttention {
  int64_t images;
  int64_t tokens;
  int64_t heads;
  int64_t head_dim;
  Dyadic context_scale;
  DeferredSoftmax softmax;
};

// `Kind` is either of the two.
template <class Kind>
struct HeadKernel {
  // Queries that the kernel takes at a time; ranges of queries are best multiples of it.
  int64_t query_tile;
  // Queries [first, last) of one head of one image; qkv and y are those of the image, attention.images does not count.
  void (*compute)(const int8_t* qkv, const Kind& attention, int64_t head, int64_t first, int64_t last, int8_t* y);
};
using AttentionKernel = HeadKernel<Attention>;
using DeferredAttentionKernel = HeadKernel<DeferredAttention>;

// qkv is [images, tokens, 3, heads, head_dim], y [images, tokens, heads, head_dim].
void int_attention(const Parallel& parallel, const int8_t* qkv, const Attention& attention, int8_t* y);
void int_attention(const Parallel& parallel, const int8_t* qkv, const DeferredAttention& attention, int8_t* y);

}  // namespace ivit::cpu
