// IntAttention: multi-head self-attention on packed queries, keys and values.
//
// A task is one head of one image for a block of queries. It widens the head's keys and transposed values once, then
// takes four queries at a time from scores to context, so that no score matrix ever exists.
#include "kernels/cpu/int_attention.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/requantize.h"
#include "kernels/cpu/shiftmax.h"

namespace ivit::cpu {
namespace {

constexpr int64_t kQueryBlock = 64;

class Head {
 public:
  Head(const int8_t* qkv, const Attention& attention, int64_t head, int8_t* y)
      : attention_(attention),
        channels_(attention.heads * attention.head_dim),
        first_channel_(head * attention.head_dim),
        query_(qkv + first_channel_),
        y_(y + first_channel_),
        key_length_(round_up(attention.head_dim, kDotPadding)),
        value_length_(round_up(attention.tokens, kDotPadding)),
        padded_tokens_(round_up(attention.tokens, kDotColumns)),
        padded_dim_(round_up(attention.head_dim, kDotColumns)),
        keys_(static_cast<size_t>(padded_tokens_ * key_length_)),
        values_(static_cast<size_t>(padded_dim_ * value_length_)),
        queries_(static_cast<size_t>(kDotRows * key_length_)),
        sums_(static_cast<size_t>(kDotRows * std::max(padded_tokens_, padded_dim_))),
        scores_(static_cast<size_t>(attention.tokens)),
        probabilities_(static_cast<size_t>(kDotRows * value_length_)) {
    for (int64_t token = 0; token < attention.tokens; ++token) {
      const int8_t* key = query_ + token * 3 * channels_ + channels_;
      const int8_t* value = key + channels_;
      for (int64_t d = 0; d < attention.head_dim; ++d) {
        keys_[token * key_length_ + d] = key[d];
        values_[d * value_length_ + token] = value[d];
      }
    }
  }

  // Queries [first, first + count), count <= 4. Rows beyond `count` repeat older contents and are not stored.
  void attend(int64_t first, int64_t count) {
    for (int64_t row = 0; row < count; ++row) {
      const int8_t* query = query_ + (first + row) * 3 * channels_;
      std::copy(query, query + attention_.head_dim, queries_.data() + row * key_length_);
    }
    for (int64_t token = 0; token < attention_.tokens; token += kDotColumns) {
      dot_4x2(queries_.data(), keys_.data() + token * key_length_, key_length_, sums_.data() + token, padded_tokens_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_tokens_, attention_.tokens, attention_.score_scale, scores_.data());
      shiftmax_row(scores_.data(), attention_.tokens, attention_.exponential, attention_.frac_bits,
                   probabilities_.data() + row * value_length_);
    }
    for (int64_t d = 0; d < attention_.head_dim; d += kDotColumns) {
      dot_4x2(probabilities_.data(), values_.data() + d * value_length_, value_length_, sums_.data() + d, padded_dim_);
    }
    for (int64_t row = 0; row < count; ++row) {
      requantize_row(sums_.data() + row * padded_dim_, attention_.head_dim,
                     attention_.context_scale.from(first_channel_), y_ + (first + row) * channels_);
    }
  }

 private:
  const Attention& attention_;
  const int64_t channels_;
  const int64_t first_channel_;
  const int8_t* const query_;
  int8_t* const y_;
  const int64_t key_length_;
  const int64_t value_length_;
  const int64_t padded_tokens_;
  const int64_t padded_dim_;
  std::vector<int16_t> keys_;     // [tokens, head_dim], padded with zeros
  std::vector<int16_t> values_;   // [head_dim, tokens], padded with zeros
  std::vector<int16_t> queries_;  // [4, head_dim]
  std::vector<int32_t> sums_;
  std::vector<int8_t> scores_;
  std::vector<int16_t> probabilities_;  // [4, tokens]
};

}  // namespace

void int_attention(const Parallel& parallel, const int8_t* qkv, const Attention& attention, int8_t* y) {
  const int64_t blocks = divide_up(attention.tokens, kQueryBlock);
  const int64_t block_size = blocks == 0 ? 0 : divide_up(attention.tokens, blocks);
  const int64_t channels = attention.heads * attention.head_dim;
  parallel.run(attention.images * attention.heads * blocks, [&](int64_t task) {
    const int64_t first = task % blocks * block_size;
    const int64_t head = task / blocks % attention.heads;
    const int64_t image = task / blocks / attention.heads;
    Head worker(qkv + image * attention.tokens * 3 * channels, attention, head,
                y + image * attention.tokens * channels);
    const int64_t last = std::min(attention.tokens, first + block_size);
    for (int64_t query = first; query < last; query += kDotRows) {
      worker.attend(query, std::min(kDotRows, last - query));
    }
  });
}

}  // namespace ivit::cpu
