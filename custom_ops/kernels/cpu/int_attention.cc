// IntAttention, IntDeferredAttention: how they are split over threads.
//
// A task is one head of one image for a range of queries. It packs the head's keys and values once, then takes a few
// queries at a time from scores to context, so that no score matrix ever exists.
#include "kernels/cpu/int_attention.h"

#include "kernels/cpu/variant.h"

namespace ivit::cpu {
namespace {

// Into how many ranges the queries of a head are cut: enough for every thread, and where heads are few, as many as
// give every thread of the machine the same number of tasks.
int64_t ranges_per_head(int64_t heads) {
  const int64_t wanted = wanted_tasks();
  const int64_t threads = wanted / 2;
  int64_t ranges = divide_up(wanted, heads);
  while (heads * ranges < 4 * wanted && heads * ranges % threads != 0) ++ranges;
  return ranges;
}

template <class Kind>
void attend(const Parallel& parallel, const int8_t* qkv, const Kind& attention, const HeadKernel<Kind>& kernel,
            int8_t* y) {
  const int64_t heads = attention.images * attention.heads;
  if (heads == 0) return;
  const Split queries(attention.tokens, ranges_per_head(heads), kernel.query_tile);
  const int64_t image_size = attention.tokens * attention.heads * attention.head_dim;
  parallel.run(heads * queries.count(), [&](int64_t task) {
    const int64_t range = task % queries.count();
    const int64_t head = task / queries.count() % attention.heads;
    const int64_t image = task / queries.count() / attention.heads;
    kernel.compute(qkv + image * image_size * 3, attention, head, queries.begin(range), queries.end(range),
                   y + image * image_size);
  });
}

}  // namespace

void int_attention(const Parallel& parallel, const int8_t* qkv, const Attention& attention, int8_t* y) {
  attend(parallel, qkv, attention, active_variant().attention, y);
}

void int_attention(const Parallel& parallel, const int8_t* qkv, const DeferredAttention& attention, int8_t* y) {
  attend(parallel, qkv, attention, active_variant().deferred_attention, y);
}

}  // namespace ivit::cpu
